use super::*;
use crate::{
    outcome::{FailureReason, FinishReason, Phase, TokenSource},
    record::{Collect, Meter},
    wire::Usage,
};

fn request(outcome: Outcome, seconds: u64, tokens: u64) -> Ended {
    Ended {
        request_id: None,
        traceparent: None,
        endpoint: "completions".into(),
        model: "tiny-words".into(),
        upstream: None,
        tenant: None,
        outcome,
        phase: Phase::Decode,
        status: None,
        error: None,
        arrived: SystemTime::now(),
        queue: None,
        time_to_first_token: None,
        duration: Duration::from_secs(seconds),
        usage: Usage { completion: Some(tokens), ..Usage::default() },
        source: TokenSource::Usage,
    }
}

const SUCCESS: Outcome = Outcome::Success(FinishReason::Stop);
const FAILURE: Outcome = Outcome::Failure(FailureReason::Timeout);

fn durations(kept: &Kept, kind: KeptKind) -> Vec<u64> {
    kept.of(kind).iter().map(|request| request.ended.duration.as_secs()).collect()
}

#[tokio::test(start_paused = true)]
async fn each_kind_has_its_own_and_no_more_than_so_many() {
    let kept = Kept::new();
    let most = KeptKind::MOST as u64;
    for i in 0..2 * most {
        // The longer it takes, the fewer tokens it has.
        kept.keep(request(SUCCESS, i, 2 * most - i));
    }
    kept.keep(request(FAILURE, 1, 0));
    kept.keep(request(FAILURE, 2, 0));
    assert_eq!(durations(&kept, KeptKind::Failed), [2, 1]);
    let slowest: Vec<u64> = (most..2 * most).rev().collect();
    assert_eq!(durations(&kept, KeptKind::Slow), slowest);
    assert_eq!(durations(&kept, KeptKind::Long), (0..most).collect::<Vec<_>>());

    let second = Duration::from_secs(1);
    assert!(!kept.wants(SUCCESS, second, 1));
    assert!(kept.wants(FAILURE, second, 0));
    assert!(kept.wants(SUCCESS, second * 1000, 0));
    assert!(kept.wants(SUCCESS, second, 2 * most));
    for _ in 0..most {
        kept.keep(request(FAILURE, 3, 0));
    }
    assert_eq!(durations(&kept, KeptKind::Failed), vec![3; KeptKind::MOST]);
}

#[tokio::test(start_paused = true)]
async fn what_was_slow_long_ago_makes_room() {
    let kept = Kept::new();
    for _ in 0..KeptKind::MOST {
        kept.keep(request(SUCCESS, 9, 9));
    }
    tokio::time::advance(PERIOD).await;
    kept.go_on(Conditions::default());
    assert!(kept.wants(SUCCESS, Duration::from_secs(1), 0));
    kept.keep(request(SUCCESS, 1, 1));
    assert_eq!(durations(&kept, KeptKind::Slow).len(), KeptKind::MOST);
    tokio::time::advance(PERIOD).await;
    kept.go_on(Conditions::default());
    assert_eq!(durations(&kept, KeptKind::Slow), [1]);
    assert_eq!(durations(&kept, KeptKind::Long), [1]);
}

#[test]
fn the_conditions_are_those_of_the_engine() {
    let meter = Meter::new().model("tiny-words");
    meter.engine("0").running(3);
    let conditions = Conditions::of(&meter.collect());
    assert_eq!(conditions.series(&names::NUM_REQUESTS_RUNNING).len(), 1);
    assert!(conditions.series(&names::GPU_UTILIZATION_RATIO).is_empty());
    assert!(conditions.series(&names::REQUEST_TOTAL).is_empty());
}
