//! Everything in one sentence.

use crate::core::text::timestamp;
use crate::view::status::Health;
use crate::view::status::Phase;
use crate::view::status::Status;
use crate::view::status::dependencies::LOOP;

impl Status {
    /// What is to be said before anything is known of certificates.
    pub(super) fn of_phase(mut self, phase: Phase) -> Self {
        (self.health, self.sentence) = match &phase {
            Phase::Starting => {
                (Health::Working, "Starting: the first pass has not ended yet.".to_owned())
            }
            Phase::Waiting { reason } => {
                (Health::Attention, format!("Not started: the store cannot be used: {reason}"))
            }
            Phase::StandingBy { holder } => {
                (Health::Ok, format!("Standing by: another instance holds the store: {holder}"))
            }
            Phase::Running | Phase::NotRunning => (self.health, self.sentence),
        };
        self.phase = phase;
        self
    }

    /// What is to be said while the first pass has not ended, however long that takes.
    pub(super) fn of_first_pass(self) -> Self {
        let mut status = self.of_phase(Phase::Starting);
        let stuck = status.dependencies.iter().find(|part| part.name == LOOP);
        if let Some(part) = stuck.filter(|part| part.health.needs_attention()) {
            status.sentence = format!("The first pass does not end: {}.", part.detail);
            status.health = part.health;
        }
        status
    }

    /// The same for a look that nobody's daemon has taken: what was not asked is no trouble.
    pub fn without_daemon(mut self, asks_destination: bool) -> Self {
        self.phase = Phase::NotRunning;
        self.started_at = None;
        if !asks_destination {
            let asked = ["destination", "source", "balancers"];
            let parts = self.dependencies.iter_mut();
            for part in parts.filter(|part| asked.contains(&part.name.as_str())) {
                part.health = part.health.min(Health::Waiting);
            }
            self.sum_up();
        }
        self
    }

    /// Sums up what is known.
    pub(super) fn sum_up(&mut self) {
        let faults: Vec<&str> = self
            .dependencies
            .iter()
            .filter(|part| part.health.needs_attention())
            .map(|part| part.name.as_str())
            .collect();
        let waits: Vec<&str> = self
            .dependencies
            .iter()
            .filter(|part| part.health == Health::Waiting)
            .map(|part| part.name.as_str())
            .collect();
        let worst = self
            .certificates
            .iter()
            .map(|certificate| certificate.health)
            .chain(self.dependencies.iter().map(|part| part.health))
            .max();
        self.health = worst.unwrap_or_default();
        let all = self.certificates.len();
        let is_bad = |health: Health| health.needs_attention();
        self.needs_attention =
            self.certificates.iter().filter(|certificate| is_bad(certificate.health)).count();
        let at_risk = self.counts().get(&Health::AtRisk).copied().unwrap_or(0);
        let mut sentence = match (all, self.needs_attention) {
            (0, _) => self.nothing_wanted().to_owned(),
            (_, 0) => self.nothing_wrong(all, faults.is_empty() && waits.is_empty()),
            (1, _) => "The certificate needs attention".to_owned(),
            (_, bad) => format!(
                "{bad} of {all} certificates need{} attention",
                if bad == 1 { "s" } else { "" }
            ),
        };
        if self.needs_attention > 0 {
            if at_risk > 0 && all == 1 {
                sentence += ": at risk of being served expired";
            } else if at_risk > 0 {
                sentence += &format!(", {at_risk} of them at risk of being served expired");
            }
            sentence.push('.');
        }
        if !faults.is_empty() {
            sentence += &format!(" Trouble with: {}.", faults.join(", "));
        } else if !waits.is_empty() && all > 0 {
            sentence += &format!(" Waiting for: {}.", waits.join(", "));
        }
        self.sentence = sentence;
    }

    /// Whether the loop stands still, so that nobody knows how things are by now.
    fn is_old(&self) -> bool {
        let mut parts = self.dependencies.iter();
        parts.any(|part| part.name == LOOP && part.health.needs_attention())
    }

    fn nothing_wanted(&self) -> &'static str {
        let metadata = self.dependencies.iter().find(|part| part.name == "source");
        if metadata.is_some_and(|part| part.health != Health::Ok) {
            "No names are known: DOMAINS has none, and the labels could not be read yet."
        } else if self.notices.is_empty() {
            "Nothing is wanted: DOMAINS is empty, and no label names a host."
        } else {
            "Nothing is wanted: every name was left out, see the notices."
        }
    }

    fn nothing_wrong(&self, all: usize, is_quiet: bool) -> String {
        let counts = self.counts();
        let of = |health| counts.get(&health).copied().unwrap_or(0);
        let (working, waiting) = (of(Health::Working), of(Health::Waiting));
        let certificates = match all {
            1 => "1 certificate".to_owned(),
            all => format!("{all} certificates"),
        };
        match (working, waiting) {
            (0, 0) if self.is_old() => match self.last_pass {
                Some(pass) => {
                    format!("{certificates} {} OK at {}.", were(all), timestamp(pass.ended_at))
                }
                None => format!("{certificates} {} OK.", were(all)),
            },
            (0, 0) if !is_quiet => format!("{certificates} OK."),
            (0, 0) => {
                let next = self
                    .certificates
                    .iter()
                    .filter_map(|certificate| certificate.renewal_due_at)
                    .min();
                let next = next.map_or_else(String::new, |at| {
                    format!("; the next renewal is due {}", timestamp(at))
                });
                format!("OK: {certificates}{next}.")
            }
            (0, waiting) => format!("{waiting} of {certificates} waiting."),
            (working, 0) => format!("{working} of {certificates} being worked on."),
            (working, waiting) => {
                format!("{working} of {certificates} being worked on, {waiting} waiting.")
            }
        }
    }
}

fn were(count: usize) -> &'static str {
    if count == 1 { "was" } else { "were" }
}
