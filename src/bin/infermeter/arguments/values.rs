//! Values of arguments; what cannot be read says what is allowed.

use std::time::Duration;

use infermeter::{layer::Endpoint, names::StaticLabel, wire::Wire};

const YEAR: f64 = 31_536_000.0;

/// The formats of answers, by name.
const FORMATS: [(&str, Wire); 13] = [
    ("anthropic", Wire::anthropic()),
    ("completions", Wire::completions()),
    ("gemini", Wire::gemini()),
    ("generate", Wire::generate()),
    ("llamacpp", Wire::llamacpp()),
    ("ollama", Wire::ollama()),
    ("openai", Wire::openai()),
    ("opaque", Wire::opaque()),
    ("prompt_only", Wire::prompt_only()),
    ("responses", Wire::responses()),
    ("sglang", Wire::sglang()),
    ("tgi", Wire::tgi()),
    ("triton", Wire::triton()),
];

pub(super) fn address(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    match port.map(|(_, port)| port.parse::<u16>()) {
        Some(Ok(_)) => Ok(text.to_owned()),
        _ => Err("allowed is HOST:PORT with a port from 0 to 65535, such as 127.0.0.1:8000".into()),
    }
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse().ok().filter(|number| (0.001..=YEAR).contains(number));
    let number = number.ok_or_else(|| format!("allowed is a number from 0.001 to {YEAR}"));
    number.map(Duration::from_secs_f64)
}

/// A number of seconds, or with a unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let with_unit = units.iter().find_map(|(unit, seconds)| {
        Some((text.strip_suffix(unit)?.parse::<f64>().ok()?, *seconds))
    });
    let (number, unit) = with_unit.or_else(|| Some((text.parse().ok()?, 1.0))).unwrap_or_default();
    // NB: NaN is in no range.
    Some(number * unit).filter(|seconds| (0.001..=YEAR).contains(seconds)).map_or_else(
        || Err("allowed is a time from 1 ms to a year, such as 500ms, 30s or 5m".to_owned()),
        |seconds| Ok(Duration::from_secs_f64(seconds)),
    )
}

/// A number of bytes, or with a unit.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let units = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
    ];
    let with_unit = units.iter().find_map(|(unit, bytes)| {
        Some((text.strip_suffix(unit)?.trim_end().parse::<u64>().ok()?, *bytes))
    });
    let read = with_unit.or_else(|| Some((text.parse().ok()?, 1)));
    read.and_then(|(number, unit)| number.checked_mul(unit)).ok_or_else(|| {
        "allowed is a number of bytes, or one with KB, MB, GB, KiB, MiB or GiB, such as 20MiB"
            .into()
    })
}

pub(super) fn label(text: &str) -> Result<(String, String), String> {
    let Some((key, value)) = text.split_once('=') else {
        return Err("allowed is KEY=VALUE, such as variant=thinking".to_owned());
    };
    let (key, value) = (key.trim(), value.trim());
    StaticLabel::new(key, value).map_err(|error| error.to_string())?;
    Ok((key.to_owned(), value.to_owned()))
}

/// A path and how its answers are written. The label is the path, written as a word.
pub(super) fn endpoint(text: &str) -> Result<(String, Endpoint), String> {
    let names = FORMATS.map(|(name, _)| name).join(", ");
    let allowed =
        format!("allowed is PATH=FORMAT, such as /v1/complete=openai, with one of {names}");
    let (path, format) = text.split_once('=').ok_or_else(|| allowed.clone())?;
    let wire = FORMATS.into_iter().find(|(name, _)| *name == format);
    let (_, wire) = wire.filter(|_| path.starts_with('/')).ok_or(allowed)?;
    let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let label: String = path.trim_matches('/').chars().map(word).collect();
    let label = if label.is_empty() { "root".to_owned() } else { label };
    Ok((path.to_owned(), Endpoint::new(label, wire)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in
            [("30s", 30_000), ("500ms", 500), ("2m", 120_000), ("1.5", 1500), ("1h", 3_600_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "0", "-1s", "NaN", "inf", "5 minutes", "1e300h"] {
            assert!(duration(text).unwrap_err().contains("500ms, 30s or 5m"), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("0", 0), ("20MiB", 20 << 20), ("1 GB", 1_000_000_000), ("7", 7)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MB", "-1", "1.5MB", "20 M", "99999999999GiB"] {
            assert!(size(text).unwrap_err().contains("20MiB"), "{text}");
        }
    }

    #[test]
    fn endpoints() {
        let (path, made) = endpoint("/My/Words=openai").unwrap();
        assert_eq!((path.as_str(), made.label()), ("/My/Words", "my_words"));
        assert_eq!(endpoint("/=tgi").unwrap().1.label(), "root");
        for text in ["", "/x", "x=openai", "/x=gpt"] {
            assert!(endpoint(text).unwrap_err().contains("prompt_only"), "{text}");
        }
    }
}
