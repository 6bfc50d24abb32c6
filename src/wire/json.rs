//! Reads JSON leniently and without copies: each field is kept raw until it is asked for, so that one
//! of an unexpected type costs that field and nothing else.

use std::{marker::PhantomData, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{
        IgnoredAny, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};
use serde_json::value::RawValue;

use super::MOST_TOKENS;

/// Seconds in a millisecond, for [`time`].
pub(super) const MILLIS: f64 = 1e-3;

/// A field that may be missing.
pub(super) type Raw<'a> = Option<&'a RawValue>;

/// An object that may be missing, read with what it stands in, so that nothing is gone through twice.
pub(super) type Object<T> = Option<Shape<T, IgnoredAny>>;

/// The first member of a list that may be missing, read in the same way.
pub(super) type First<T> = Option<Shape<IgnoredAny, FirstOf<T>>>;

/// What a value is; of an unexpected type, it costs this field and nothing else.
pub(super) enum Shape<O, L> {
    Object(O),
    List(L),
    Other,
}

pub(super) struct FirstOf<T> {
    pub(super) first: Option<T>,
    pub(super) are_more: bool,
}

/// An object out of bytes; `None` for what is none.
pub(super) fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    // Checked here once, else each field is.
    let text = std::str::from_utf8(bytes.trim_ascii_start()).ok()?;
    text.starts_with('{').then(|| serde_json::from_str(text).ok())?
}

pub(super) fn object<'a, T: Deserialize<'a>>(raw: Raw<'a>) -> Option<T> {
    let text = raw?.get();
    text.starts_with('{').then(|| serde_json::from_str(text).ok())?
}

/// An object that was read already.
pub(super) fn nested<T>(object: &Object<T>) -> Option<&T> {
    match object {
        Some(Shape::Object(object)) => Some(object),
        _ => None,
    }
}

/// A text or a list with something in it.
pub(super) fn is_filled(raw: &RawValue) -> bool {
    let text = raw.get();
    let inside = |open, close| {
        text.strip_prefix(open)
            .and_then(|rest| rest.strip_suffix(close))
            .map(|rest: &str| rest.trim())
    };
    match inside('[', ']').or_else(|| inside('{', '}')) {
        Some(rest) => !rest.is_empty(),
        None => text.starts_with('"') && text.len() > 2,
    }
}

/// A text without escapes, as reasons and codes are.
pub(super) fn word(raw: &RawValue) -> Option<&str> {
    raw.get().strip_prefix('"')?.strip_suffix('"')
}

/// A count: a whole number, also where it is written as a float. What no request can have was not
/// told.
pub(super) fn number(raw: Raw<'_>) -> Option<u64> {
    let text = raw?.get();
    let count = text.parse().ok().or_else(|| {
        let float: f64 = text.parse().ok()?;
        (float >= 0.0 && float.fract() == 0.0).then_some(float as u64)
    });
    count.filter(|count| *count <= MOST_TOKENS)
}

pub(super) fn length(raw: &RawValue) -> Option<u64> {
    let mut n = 0;
    for_each(Some(raw), |_: IgnoredAny| n += 1).then_some(n)
}

/// Calls `each` with every member of a list; false where it is none.
pub(super) fn for_each<'a, T: Deserialize<'a>>(raw: Raw<'a>, each: impl FnMut(T)) -> bool {
    struct Each<T, F>(F, PhantomData<T>);

    impl<'a, T: Deserialize<'a>, F: FnMut(T)> Visitor<'a> for Each<T, F> {
        type Value = ();

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'a>>(mut self, mut seq: A) -> Result<(), A::Error> {
            while let Some(member) = seq.next_element()? {
                (self.0)(member);
            }
            Ok(())
        }
    }

    let Some(text) = raw.map(RawValue::get).filter(|text| text.starts_with('[')) else {
        return false;
    };
    serde_json::Deserializer::from_str(text).deserialize_seq(Each(each, PhantomData)).is_ok()
}

/// A time in a unit of so many seconds; what is no time was not told.
pub(super) fn time(raw: Raw<'_>, unit: f64) -> Option<Duration> {
    let units: f64 = raw?.get().parse().ok()?;
    Duration::try_from_secs_f64(units * unit).ok()
}

/// Calls `each` with the object that a body is, or with each of the list that it is; false where it
/// is neither.
pub(super) fn for_each_object<'a, T: Deserialize<'a>>(
    bytes: &'a [u8],
    mut each: impl FnMut(T),
) -> bool {
    let bytes = bytes.trim_ascii();
    if !bytes.starts_with(b"[") {
        return parse(bytes).map(each).is_some();
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(list) = serde_json::from_str::<&RawValue>(text) else { return false };
    for_each(Some(list), |member: &RawValue| {
        if let Some(member) = object(Some(member)) {
            each(member);
        }
    })
}

/// The object that a body is, or the first one of the list that it is.
pub(super) fn first<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    let mut first = None;
    for_each_object(bytes, |object| {
        first.get_or_insert(object);
    });
    first
}

// === impl Shape ===

impl<'de, O: Deserialize<'de>, L: Deserialize<'de>> Deserialize<'de> for Shape<O, L> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any<O, L>(PhantomData<(O, L)>);

        impl<'de, O: Deserialize<'de>, L: Deserialize<'de>> Visitor<'de> for Any<O, L> {
            type Value = Shape<O, L>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("anything")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                O::deserialize(MapAccessDeserializer::new(map)).map(Shape::Object)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                L::deserialize(SeqAccessDeserializer::new(seq)).map(Shape::List)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Shape::Other)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
                Ok(Shape::Other)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(Shape::Other)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Shape::Other)
            }

            fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
                Ok(Shape::Other)
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Shape::Other)
            }
        }

        deserializer.deserialize_any(Any(PhantomData))
    }
}

// === impl FirstOf ===

impl<'de, T: Deserialize<'de>> Deserialize<'de> for FirstOf<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
            type Value = FirstOf<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<FirstOf<T>, A::Error> {
                let (first, mut are_more) = (seq.next_element()?, false);
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    are_more = true;
                }
                Ok(FirstOf { first, are_more })
            }
        }

        deserializer.deserialize_seq(List(PhantomData))
    }
}
