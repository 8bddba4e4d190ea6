//! One certificate as the page shows it: nothing twice, the worst first.

use time::OffsetDateTime;

use crate::view::page::life::Life;
use crate::view::page::life::life;
use crate::view::page::words;
use crate::view::status::Status;
use crate::view::status::certificate::Certificate;
use crate::view::status::certificate::Copy;
use crate::view::status::certificate::LastTry;
use crate::view::status::certificate::Whole;

/// One certificate.
pub(super) struct Row<'a> {
    pub(super) certificate: &'a Certificate,
    /// Whether everything about it is shown at once.
    pub(super) is_open: bool,
    /// Both copies, or one where they are the same.
    pub(super) copies: Vec<(String, &'a Copy)>,
    pub(super) life: Option<Life>,
    pub(super) has_balancers: bool,
    /// How long what is served is valid yet.
    pub(super) validity: String,
}

impl<'a> Row<'a> {
    pub(super) fn new(certificate: &'a Certificate, has_life: bool, status: &Status) -> Self {
        let (now, name) = (status.at, &status.destination);
        let (disk, destination) = (&certificate.on_disk, &certificate.at_destination);
        let is_same = disk.whole().is_some() && disk == destination;
        Self {
            certificate,
            is_open: certificate.health.needs_attention(),
            copies: if is_same {
                vec![(format!("On disk and at {name}"), disk)]
            } else {
                vec![("On disk".to_owned(), disk), (format!("At {name}"), destination)]
            },
            life: has_life.then(|| life(certificate, now)).flatten(),
            has_balancers: status.has_balancers(),
            validity: validity(certificate, now),
        }
    }

    /// How many names there are besides the primary one.
    pub(super) fn others(&self) -> usize {
        self.certificate.names.len().saturating_sub(1)
    }

    /// Whether it is at the destination, and no balancer that goes by the destination's list has it.
    pub(super) fn is_unlisted(&self) -> bool {
        let balancers = self.certificate.balancers.as_ref();
        balancers.is_some_and(Vec::is_empty) && self.certificate.at_destination.whole().is_some()
    }

    /// Why the verdict is what it is, where the problem does not tell that already.
    pub(super) fn reason(&self) -> Option<&'a str> {
        let reason = self.certificate.reason.as_str();
        let is_told = self.is_the_problem(reason);
        (!is_told && !reason.is_empty()).then_some(reason)
    }

    /// How the last try ended.
    pub(super) fn outcome(&self, last: &'a LastTry) -> Outcome<'a> {
        match &last.error {
            None => Outcome::Ok,
            Some(error) if self.is_the_problem(error) => Outcome::AsTold,
            Some(error) => Outcome::Failed(error),
        }
    }

    /// What a copy covers, where that is not what it is to cover.
    pub(super) fn differing<'b>(&self, whole: &'b Whole) -> Option<&'b [String]> {
        let mut wanted: Vec<&str> = self.certificate.names.iter().map(String::as_str).collect();
        let mut covered: Vec<&str> = whole.names.iter().map(String::as_str).collect();
        wanted.sort_unstable();
        covered.sort_unstable();
        (wanted != covered).then_some(&whole.names)
    }

    fn is_the_problem(&self, text: &str) -> bool {
        let problem = self.certificate.problem.as_ref();
        problem.is_some_and(|problem| problem.what == text)
    }
}

/// How a try ended.
pub(super) enum Outcome<'a> {
    Ok,
    /// With the problem that is shown above.
    AsTold,
    Failed(&'a str),
}

fn validity(certificate: &Certificate, now: OffsetDateTime) -> String {
    match (certificate.expires_at, &certificate.at_destination) {
        (Some(at), _) => words::left(at, now),
        (None, Copy::Unknown { .. }) => "not known".to_owned(),
        (None, Copy::Absent | Copy::Broken { .. } | Copy::Whole(_)) => {
            "no certificate yet".to_owned()
        }
    }
}
