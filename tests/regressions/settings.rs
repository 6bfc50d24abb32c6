//! How a meter can be set up.

use infermeter::{
    Meter,
    names::{self, Family},
    record::{Collect, HistogramReading, MeterBuilder, Value},
};

use super::{A, DONE, STOP, Text, complete, events, usage};

fn reading(meter: &Meter, family: &'static Family) -> HistogramReading {
    match &meter.collect().series(family)[0].value {
        Value::Histogram(reading) => reading.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_count_is_not_below_a_bound_between_two_whole_numbers() {
    let builder = Meter::builder().buckets(&names::REQUEST_PROMPT_TOKENS, [1.5, 2.5, 10.0]);
    let meter = builder.build().unwrap();
    for prompt in [1, 2, 3] {
        let stream = [A, STOP, &usage(prompt, 1), DONE].concat();
        complete(&meter, |_| events(Text::data([stream.clone()])));
    }
    assert_eq!(*reading(&meter, &names::REQUEST_PROMPT_TOKENS).counts, [1, 1, 1, 0]);
}

#[test]
fn buckets_that_were_set_stay_whatever_the_context_length_is() {
    let set = |builder: MeterBuilder| builder.buckets(&names::REQUEST_PROMPT_TOKENS, [7.0]);
    for builder in
        [set(Meter::builder()).context_length(32), set(Meter::builder().context_length(32))]
    {
        let meter = builder.build().unwrap().model("m");
        assert_eq!(*reading(&meter, &names::REQUEST_PROMPT_TOKENS).bounds, [7.0]);
        let others = reading(&meter, &names::REQUEST_GENERATION_TOKENS).bounds;
        assert_eq!(others.last(), Some(&32.0));
    }
}

#[test]
fn a_number_of_models_that_cannot_be_is_an_error_that_says_what_can() {
    for max in [0, 1023, u16::MAX] {
        let error = Meter::builder().max_models(max).build().unwrap_err().to_string();
        assert_eq!(error, format!("max_models is {max}; allowed are 1 to 1022"));
    }
    for max in [1, 1022] {
        assert!(Meter::builder().max_models(max).build().is_ok(), "{max}");
    }
}
