//! How everything stands, as numbers in the text format that Prometheus reads.
//!
//! Rendered anew at each look from the same document that the page shows, so that both say the same. Labels are
//! bounded: by what is wanted (`name` is the primary name of a certificate), by the two directories that the settings
//! name, else by words that stand here. What is not known has no sample; what is counted begins with zeros.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::EncodeMetric;
use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use time::OffsetDateTime;

use crate::ports::counted::Counts;
use crate::ports::counted::tally::Answers;
use crate::ports::counted::tally::Tally;
use crate::view::status::Status;
use crate::work::daemon::Snapshot;

mod authority;
mod certificate;
mod program;

/// The type of [`render`]'s text.
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

const PREFIX: &str = "rancher_lets_encrypt";

/// Everything as one text.
pub fn render(status: &Status, snapshot: &Snapshot, counts: &Counts) -> String {
    let tally = counts.tally();
    let seen = Seen { status, snapshot, counts, tally: &tally };
    let mut own = certificate::families(&seen);
    own.extend(authority::families(&seen));
    own.extend(program::families(&seen));
    let mut registry = Registry::default();
    let prefixed = registry.sub_registry_with_prefix(PREFIX);
    prefixed.register_collector(Box::new(Families(own)));
    registry.register_collector(Box::new(Families(program::standard(&seen))));
    let mut text = String::new();
    // A text in memory takes everything.
    let _ = prometheus_text::encode(&mut text, &registry);
    text
}

/// What is told in numbers.
struct Seen<'a> {
    status: &'a Status,
    snapshot: &'a Snapshot,
    counts: &'a Counts,
    tally: &'a Tally,
}

type Labels = Vec<(&'static str, String)>;

/// Samples of one name.
#[derive(Debug)]
struct Family {
    /// Without prefix and `_total`.
    name: &'static str,
    help: &'static str,
    samples: Samples,
}

#[derive(Debug)]
enum Samples {
    Counter(Vec<(Labels, u64)>),
    Gauge(Vec<(Labels, f64)>),
}

impl Family {
    fn counter(
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels, u64)>,
    ) -> Self {
        Self { name, help, samples: Samples::Counter(samples.into_iter().collect()) }
    }

    fn gauge(
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels, f64)>,
    ) -> Self {
        Self { name, help, samples: Samples::Gauge(samples.into_iter().collect()) }
    }

    /// A gauge without labels.
    fn single(name: &'static str, help: &'static str, value: impl Into<Option<f64>>) -> Self {
        let value = value.into().map(|value| (Labels::new(), value));
        Self::gauge(name, help, value)
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kind = match self.samples {
            Samples::Counter(_) => MetricType::Counter,
            Samples::Gauge(_) => MetricType::Gauge,
        };
        let mut family = encoder.encode_descriptor(self.name, self.help, None, kind)?;
        match &self.samples {
            Samples::Counter(samples) => samples.iter().try_for_each(|(labels, value)| {
                ConstCounter::new(*value).encode(family.encode_family(labels)?)
            }),
            Samples::Gauge(samples) => samples.iter().try_for_each(|(labels, value)| {
                ConstGauge::new(*value).encode(family.encode_family(labels)?)
            }),
        }
    }
}

#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|family| family.encode(&mut encoder))
    }
}

/// A time as Prometheus counts it.
fn seconds(at: OffsetDateTime) -> f64 {
    (at - OffsetDateTime::UNIX_EPOCH).as_seconds_f64()
}

fn truth(claim: bool) -> f64 {
    if claim { 1.0 } else { 0.0 }
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Every kind of answer, also those that never came.
fn by_kind<'a>(
    answers: &'a Answers,
    kinds: &'a [&'static str],
) -> impl Iterator<Item = (&'static str, u64)> + 'a {
    kinds.iter().map(|kind| (*kind, answers.by_kind.get(kind).copied().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_label_cannot_break_the_format() {
        let mut registry = Registry::default();
        let labels = vec![("name", "a\"} 1\nb\\ ü".to_owned())];
        let family = Family::gauge("given", "Help.", [(labels, 1.5)]);
        registry.register_collector(Box::new(Families(vec![family])));
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry).unwrap();
        let expected = "# HELP given Help.\n# TYPE given gauge\n\
                        given{name=\"a\\\"} 1\\nb\\\\ ü\"} 1.5\n";
        assert_eq!(text, expected);
    }
}
