//! What a check found: steps with a grade each, and the verdict, as text and as JSON.

use std::fmt::Write;

use serde::Serialize;

use crate::core::names::DomainName;
use crate::core::text::plain;
use crate::probe::Answer;
use crate::probe::Hop;

/// How a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// As it should be.
    Ok,
    /// It need not keep a CA from issuing, or could not be told from here.
    Warn,
    /// A CA would refuse.
    Fail,
}

impl Grade {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What a step looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// Whether a certificate is wanted for the name.
    Wanted,
    /// The name's IPv4 addresses.
    A,
    /// The name's IPv6 addresses.
    Aaaa,
    /// Who may issue for it.
    Caa,
    /// The file in our webroot.
    Token,
    /// The way to that file from outside.
    Fetch,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// How it stands.
    pub grade: Grade,
    /// What it looks at.
    pub subject: Subject,
    /// What was found, in plain words.
    pub says: String,
    /// What mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
    /// Every request, where there were any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hops: Vec<Hop>,
}

impl Step {
    /// A step that is as it should be.
    pub fn ok(subject: Subject, says: impl Into<String>) -> Self {
        Self { grade: Grade::Ok, subject, says: says.into(), mend: None, hops: Vec::new() }
    }

    /// A step with a remark.
    pub fn warn(subject: Subject, says: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { grade: Grade::Warn, mend: Some(mend.into()), ..Self::ok(subject, says) }
    }

    /// A step at which a CA would fail.
    pub fn fail(subject: Subject, says: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { grade: Grade::Fail, ..Self::warn(subject, says, mend) }
    }

    /// The same with the requests that were made.
    pub fn with_hops(self, hops: Vec<Hop>) -> Self {
        Self { hops, ..self }
    }
}

/// Everything that was found about one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The name.
    pub name: DomainName,
    /// The directory of the authority that would be asked.
    pub directory: String,
    /// The name servers that were asked.
    pub name_servers: String,
    /// The worst of all steps.
    pub verdict: Grade,
    /// Whether the authority would succeed, in a sentence.
    pub says: String,
    /// The steps, in the order of an authority's.
    pub steps: Vec<Step>,
}

impl Report {
    /// Sums the steps up.
    pub fn new(
        name: DomainName,
        directory: String,
        name_servers: String,
        steps: Vec<Step>,
    ) -> Self {
        let count = |grade| steps.iter().filter(|step| step.grade == grade).count();
        let says = match (count(Grade::Fail), count(Grade::Warn)) {
            (0, 0) => format!("the CA would succeed: {name} can get its certificate"),
            (0, remarks) => format!(
                "as far as can be seen from here the CA would succeed; mind {}, marked `warn` above",
                counted(remarks, "remark")
            ),
            (failures, _) => format!(
                "the CA would fail: {} to mend, marked `fail` above",
                counted(failures, "thing")
            ),
        };
        Self {
            verdict: steps.iter().map(|step| step.grade).max().unwrap_or(Grade::Ok),
            name,
            directory,
            name_servers,
            says,
            steps,
        }
    }

    /// The report for machines.
    pub fn json(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("its keys are text");
        text + "\n"
    }

    /// The report for people: a line for each step, below it the way that was taken and what mends it.
    pub fn render(&self) -> String {
        let mut text = format!(
            "{}, as {} would see it (name server {})\n",
            self.name, self.directory, self.name_servers
        );
        for step in &self.steps {
            // Writing to a string never fails.
            let _ = writeln!(text, "{:<5} {}", step.grade.word(), plain(&step.says));
            if step.hops.len() > 1 {
                for hop in &step.hops {
                    let _ = writeln!(text, "        {}", plain(&shown(hop)));
                }
            }
            if let Some(mend) = &step.mend {
                let _ = writeln!(text, "      > {}", plain(mend));
            }
        }
        let _ = writeln!(text, "{}", self.says);
        text
    }
}

fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

fn shown(hop: &Hop) -> String {
    let Hop { url, address, answer } = hop;
    let from = address.map_or_else(String::new, |address| format!(" from {address}"));
    match answer {
        Answer::Status(status) => format!("{url}: {status}{from}"),
        Answer::Error(error) => format!("{url}: {error}"),
    }
}
