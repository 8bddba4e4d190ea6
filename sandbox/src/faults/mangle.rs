//! Answers that nobody would send, made from answers that somebody does.

use bytes::Bytes;
use serde_json::Value;
use serde_json::json;

use crate::faults::chance::Draw;

/// A JSON text with one place changed, or any text with a piece changed; which, follows from the seed.
pub fn mangled(body: &[u8], seed: u64) -> Bytes {
    let mut draw = Draw::new(seed);
    if draw.below(4) > 0
        && let Ok(mut value) = serde_json::from_slice(body)
    {
        let places = count(&value);
        let mut place = draw.below(places);
        replace(&mut value, &mut place, &mut draw);
        return value.to_string().into();
    }
    let mut bytes = body.to_vec();
    let length = u64::try_from(bytes.len()).expect("it is in memory") + 1;
    let mut at = || usize::try_from(draw.below(length)).expect("it is in memory");
    let (from, to) = (at(), at());
    let put = draw.number().to_le_bytes();
    let many = usize::try_from(draw.below(9)).expect("at most eight");
    bytes.splice(from.min(to)..from.max(to), put.into_iter().take(many));
    bytes.into()
}

/// How many values there are, with those inside of others.
fn count(value: &Value) -> u64 {
    match value {
        Value::Array(values) => 1 + values.iter().map(count).sum::<u64>(),
        Value::Object(fields) => 1 + fields.values().map(count).sum::<u64>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}

fn replace(value: &mut Value, place: &mut u64, draw: &mut Draw) {
    if *place == 0 {
        *value = odd(value, draw);
    }
    *place = place.wrapping_sub(1);
    match value {
        Value::Array(values) => {
            let inner = values.iter_mut();
            inner.for_each(|value| replace(value, place, draw));
        }
        Value::Object(fields) => {
            let inner = fields.values_mut();
            inner.for_each(|value| replace(value, place, draw));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Something else in the place of a value.
fn odd(value: &Value, draw: &mut Draw) -> Value {
    const TEXTS: [&str; 12] = [
        "",
        "../../../../sentinel",
        "/etc/passwd",
        "a\u{0}b",
        "\u{202e}\n\r",
        "pending",
        "valid",
        "https://127.0.0.1:9/elsewhere",
        "file:///etc/passwd",
        "9999-12-31T23:59:59Z",
        "*.example.com",
        "-----BEGIN CERTIFICATE-----",
    ];
    let text = TEXTS[usize::try_from(draw.below(12)).expect("a few texts")];
    match draw.below(12) {
        0 => Value::Null,
        1 => json!(u64::MAX),
        2 => json!(-1),
        3 => json!(1e300),
        4 => json!([]),
        5 => json!({}),
        6 => json!([value, value]),
        7 => json!("a".repeat(10_000)),
        8 => (0..100).fold(Value::Null, |inner, _| json!([inner])),
        9 => json!(vec![value; 300]),
        _ => json!(text),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_mangles_alike_and_seeds_differ() {
        let body = json!({"status": "pending", "authorizations": ["a", "b"]}).to_string();
        let seeds = 0..200;
        let texts: BTreeSet<Bytes> = seeds.map(|seed| mangled(body.as_bytes(), seed)).collect();
        assert!(texts.len() > 100, "{}", texts.len());
        assert_eq!(mangled(body.as_bytes(), 7), mangled(body.as_bytes(), 7));
        mangled(b"", 1);
    }
}
