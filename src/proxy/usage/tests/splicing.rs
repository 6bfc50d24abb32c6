//! What is asked for.

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};

use super::{FINAL, MEMBERS, RUNNING};
use crate::proxy::usage::{Hide, Request, Spliced, Wanted, splice};

fn spliced(body: &str, wanted: Wanted) -> Option<(String, Hide)> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let Spliced { pieces, hide } = splice(&body, &Request::read(&body)?, wanted)?;
    // What was there is not copied.
    let inside = |piece: &&Bytes| body.as_ptr_range().contains(&piece.as_ptr());
    let kept: usize = pieces.iter().filter(inside).map(Bytes::len).sum();
    assert!(kept + "false".len() * 2 >= body.len(), "{pieces:?}");
    Some((String::from_utf8(pieces.concat()).unwrap(), hide))
}

#[track_caller]
fn assert_spliced(body: &str, wanted: Wanted, expected: &str, hide: Hide) {
    assert_eq!(spliced(body, wanted), Some((expected.to_owned(), hide)), "{body}");
}

#[test]
fn final_usage_is_added() {
    for (body, expected) in [
        (r#"{"stream":true}"#, r#"{"stream_options":{"include_usage":true},"stream":true}"#),
        (
            " { \"model\" : \"m\",\n \"stream\" : true }\n",
            " {\"stream_options\":{\"include_usage\":true}, \"model\" : \"m\",\n \"stream\" : true }\n",
        ),
        (
            r#"{"stream_options": null, "stream":true}"#,
            r#"{"stream_options": {"include_usage":true}, "stream":true}"#,
        ),
        (
            r#"{"stream":true,"stream_options":{}}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"stream":true,"stream_options" : { } }"#,
            r#"{"stream":true,"stream_options" : {"include_usage":true } }"#,
        ),
        (
            r#"{"stream":true,"stream_options":{ "x":1}}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true, "x":1}}"#,
        ),
        (
            r#"{"stream":true,"stream_options":{"include_usage":false}}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"stream":true,"stream_options":{"x":{},"include\u005fusage": null ,"y":0}}"#,
            r#"{"stream":true,"stream_options":{"x":{},"include\u005fusage": true ,"y":0}}"#,
        ),
        (
            r#"{"stream":true,"stream_options":{"continuous_usage_stats":false}}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":false}}"#,
        ),
    ] {
        assert_spliced(body, Wanted::Final, expected, FINAL);
    }
}

#[test]
fn running_usage_is_added() {
    for (body, expected, hide) in [
        (
            r#"{"stream":true}"#,
            r#"{"stream_options":{"include_usage":true,"continuous_usage_stats":true},"stream":true}"#,
            RUNNING,
        ),
        (
            r#"{"stream_options":null,"stream":true}"#,
            r#"{"stream_options":{"include_usage":true,"continuous_usage_stats":true},"stream":true}"#,
            RUNNING,
        ),
        (
            r#"{"stream":true,"stream_options":{}}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}"#,
            RUNNING,
        ),
        (
            r#"{"stream":true,"stream_options":{"x":1}}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true,"x":1}}"#,
            RUNNING,
        ),
        (
            r#"{"stream":true,"stream_options":{"continuous_usage_stats":null,"include_usage":false}}"#,
            r#"{"stream":true,"stream_options":{"continuous_usage_stats":true,"include_usage":true}}"#,
            RUNNING,
        ),
        (
            r#"{"stream":true,"stream_options":{"include_usage":false}}"#,
            r#"{"stream":true,"stream_options":{"continuous_usage_stats":true,"include_usage":true}}"#,
            RUNNING,
        ),
        // The client has asked for the final one itself.
        (
            r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
            r#"{"stream":true,"stream_options":{"continuous_usage_stats":true,"include_usage":true}}"#,
            MEMBERS,
        ),
        (
            r#"{"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":false}}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}"#,
            MEMBERS,
        ),
    ] {
        assert_spliced(body, Wanted::Running, expected, hide);
    }
}

#[test]
fn nothing_is_added() {
    for body in [
        "{}",
        r#"{"stream":false}"#,
        r#"{"stream":null,"stream_options":{}}"#,
        r#"{"stream":1}"#,
        r#"{"stream":"true"}"#,
        r#"{"stream_options":{"include_usage":false}}"#,
        r#"{"messages":[{"stream":true}]}"#,
        r#"[{"stream":true}]"#,
        r#"{"stream":true} {}"#,
        r#"{"stream":true,"stream":true}"#,
        r#"{"stream":true,"stream_options":{},"stream_options":{}}"#,
        r#"{"stream":true,"stream_options":true}"#,
        r#"{"stream":true,"stream_options":[]}"#,
        r#"{"stream":true,"stream_options":"{}"}"#,
        r#"{"stream":true,"stream_options":{"include_usage":1}}"#,
        r#"{"stream":true,"stream_options":{"include_usage":"false"}}"#,
        r#"{"stream":true,"stream_options":{"include_usage":false,"include_usage":false}}"#,
        r#"{"stream":true,"stream_options":{"continuous_usage_stats":{}}}"#,
        r#"{"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}"#,
        // What the client sees of these differs from engine to engine.
        r#"{"stream":true,"stream_options":{"continuous_usage_stats":true}}"#,
        r#"{"stream":true,"stream_options":{"continuous_usage_stats":true,"include_usage":false}}"#,
    ] {
        for wanted in [Wanted::Final, Wanted::Running] {
            assert_eq!(spliced(body, wanted), None, "{body}");
        }
    }
    let asked = r#"{"stream":true,"stream_options":{"include_usage":true}}"#;
    assert_eq!(spliced(asked, Wanted::Final), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn the_option_is_all_that_is_added(
        members in vec(member(), 0..5),
        stream in option::weighted(0.9, select(vec!["true", "true", "true", "false", "null", "1"])),
        options in option::weighted(0.7, options()),
        order in any::<prop::sample::Index>(),
        around in (space(), space()),
        running in any::<bool>(),
    ) {
        let mut members = members;
        let said = [("stream", stream.map(str::to_owned)), ("stream_options", options)];
        for (name, value) in said {
            if let Some(value) = value {
                let member = format!("\"{name}\" :{}{value}", around.0);
                members.insert(order.index(members.len() + 1), member);
            }
        }
        let body = format!("{0}{{{1}{2}{1}}}{0}", around.0, around.1, members.join(","));
        let wanted = if running { Wanted::Running } else { Wanted::Final };
        let before: Value = serde_json::from_str(&body).unwrap();
        let expected = expected(&before, wanted);
        let found = spliced(&body, wanted).map(|(text, hide)| {
            (serde_json::from_str::<Value>(&text).unwrap(), hide)
        });
        prop_assert_eq!(found, expected, "{}", body);
    }

    #[test]
    fn any_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..64)) {
        let body = Bytes::from(bytes);
        if let Some(request) = Request::read(&body) {
            prop_assert!(splice(&body, &request, Wanted::Running).is_none());
        }
    }
}

/// The rules again, on the values.
fn expected(before: &Value, wanted: Wanted) -> Option<(Value, Hide)> {
    let mut after = before.clone();
    let running = wanted == Wanted::Running;
    let options = before.get("stream_options").cloned().unwrap_or(Value::Null);
    if before.get("stream") != Some(&json!(true)) || !(options.is_null() || options.is_object()) {
        return None;
    }
    let switch = |name| match options.get(name) {
        None | Some(Value::Null) => Some(false),
        Some(value) => value.as_bool(),
    };
    let (included, ran) = (switch("include_usage")?, switch("continuous_usage_stats")?);
    if ran && !included {
        return None;
    }
    let hide = Hide { event: !included, members: running && !ran };
    let mut options = options.as_object().cloned().unwrap_or_default();
    options.insert("include_usage".to_owned(), json!(true));
    if running {
        options.insert("continuous_usage_stats".to_owned(), json!(true));
    }
    after["stream_options"] = options.into();
    (hide.event || hide.members).then_some((after, hide))
}

fn options() -> impl Strategy<Value = String> {
    let switch = || option::of(select(vec!["true", "false", "null", "0"]));
    let object = (vec(member(), 0..3), switch(), switch(), any::<prop::sample::Index>(), space());
    let object = object.prop_map(|(mut members, include, running, at, space)| {
        for (name, value) in [("include_usage", include), ("continuous_usage_stats", running)] {
            if let Some(value) = value {
                let member = format!("{space}\"{name}\"{space}:{space}{value}{space}");
                members.insert(at.index(members.len() + 1), member);
            }
        }
        format!("{{{space}{}{space}}}", members.join(","))
    });
    prop_oneof![8 => object, 1 => Just("null".to_owned()), 1 => Just("[]".to_owned())]
}

fn member() -> impl Strategy<Value = String> {
    let name = select(vec!["model", "messages", "x", "\u{e9}", "a\\\"b", "{", "streams"]);
    (space(), 0..1000_u32, name, value()).prop_map(|(space, number, name, value)| {
        // Each name once.
        format!("{space}\"{name}{number}\"{space}:{space}{value}{space}")
    })
}

fn value() -> impl Strategy<Value = String> {
    let leaf = select(vec![
        "null",
        "true",
        "false",
        "0",
        "-1.5e3",
        "\"\"",
        "\"}\"",
        "\"\\\"stream\\\":false\"",
        "[]",
        "{}",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(4, 16, 3, |inner| {
        let list = (space(), vec(inner.clone(), 0..3))
            .prop_map(|(space, values)| format!("[{space}{}{space}]", values.join(",")));
        let object = (space(), inner).prop_map(|(space, value)| {
            format!("{{{space}\"stream_options\"{space}:{value}{space}}}")
        });
        prop_oneof![list, object]
    })
}

fn space() -> impl Strategy<Value = &'static str> {
    select(vec!["", "", " ", "\n", "\r\n\t"])
}
