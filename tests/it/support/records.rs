//! What the daemon has on record, and what a test may make of it while no daemon runs.

use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;
use time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::World;

impl World {
    fn ledger_path(&self) -> PathBuf {
        self.store().join("rancher-lets-encrypt/ledger.jsonl")
    }

    /// Every line of the ledger.
    pub(crate) fn ledger(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.ledger_path()).unwrap_or_default();
        let lines = text.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().unwrap()
    }

    /// The failures on record about one kind of subject, oldest first.
    pub(crate) fn failures(&self, kind: &str) -> Vec<Failure> {
        let is_asked = |line: &Value| line["event"] == "failed" && line["subject"]["kind"] == *kind;
        let ledger = self.ledger();
        let failures = ledger.iter().filter(|line| is_asked(line));
        failures.map(Failure::of).collect()
    }

    /// Changes every line of the ledger.
    pub(crate) fn edit_ledger(&self, edit: impl Fn(&mut Value)) {
        let mut lines = self.ledger();
        lines.iter_mut().for_each(edit);
        let lines: Vec<String> = lines.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(self.ledger_path(), lines.concat()).unwrap();
    }

    /// Adds a failure to what is on record, after which something has to wait.
    pub(crate) fn waits_until(&self, subject: Value, until: OffsetDateTime, now: OffsetDateTime) {
        let format = |at: OffsetDateTime| at.format(&Rfc3339).unwrap();
        let line = serde_json::json!({
            "at": format(now), "event": "failed", "subject": subject, "failures": 1, "until": format(until),
            "detail": "made up", "failed_at": format(now),
        });
        let mut text = std::fs::read_to_string(self.ledger_path()).unwrap_or_default();
        text += &format!("{line}\n");
        std::fs::create_dir_all(self.ledger_path().parent().unwrap()).unwrap();
        std::fs::write(self.ledger_path(), text).unwrap();
    }

    /// Ends every wait, as if its time had passed.
    pub(crate) fn end_waits(&self) {
        self.edit_ledger(|line| {
            if line["event"] == "failed" {
                line["until"] = line["at"].clone();
            }
        });
    }

    /// Ends the rest of an order in flight, and lets the time pass after which finalize is sent again. Nothing happens
    /// where there is none.
    pub(crate) fn end_rests(&self, lineage: &str) {
        if self.pending(lineage).is_none() {
            return;
        }
        self.edit_pending(lineage, |order| {
            order["look_after"] = Value::Null;
            let times = order.get_mut("finalized_at").and_then(Value::as_array_mut);
            for time in times.into_iter().flatten() {
                *time = earlier(time, Duration::hours(2));
            }
        });
    }

    /// Lets time pass for everything on record, as if no daemon had run meanwhile; but for dates of certificates.
    pub(crate) fn let_pass(&self, time: Duration) {
        self.edit_ledger(|line| shift(line, time));
        for (folder, is_list) in [("pending", false), ("stuck", true)] {
            for path in files(&self.store().join("rancher-lets-encrypt").join(folder)) {
                let text = std::fs::read_to_string(&path).unwrap();
                // Each line of an order in flight is a whole order; the last one counts.
                let text = if is_list { Some(&*text) } else { text.lines().last() };
                let mut value: Value = serde_json::from_str(text.unwrap()).unwrap();
                shift(&mut value, time);
                std::fs::write(path, value.to_string()).unwrap();
            }
        }
    }

    /// Makes it long ago that the certificate of a lineage was stored.
    pub(crate) fn stored_earlier(&self, lineage: &str, by: Duration) {
        let own = self.store().join("rancher-lets-encrypt");
        let path = own.join("certificates").join(format!("{lineage}.json"));
        let mut record: Value =
            serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        for version in record["versions"].as_array_mut().unwrap() {
            version["stored_at"] = earlier(&version["stored_at"], by);
        }
        std::fs::write(path, record.to_string()).unwrap();
    }

    /// Adds an hour to every wait.
    pub(crate) fn lengthen_waits(&self) {
        self.edit_ledger(|line| {
            if line["event"] == "failed" {
                line["until"] = earlier(&line["until"], -Duration::HOUR);
            }
        });
    }

    pub(crate) fn pending_path(&self, lineage: &str) -> PathBuf {
        let own = self.store().join("rancher-lets-encrypt");
        own.join("pending").join(format!("{lineage}.json"))
    }

    /// The file of the orders of a lineage that were put aside.
    pub(crate) fn stuck_path(&self, lineage: &str) -> PathBuf {
        let own = self.store().join("rancher-lets-encrypt");
        own.join("stuck").join(format!("{lineage}.json"))
    }

    /// The file of the first order of a lineage that is over without a certificate, and whose key is kept.
    pub(crate) fn over_path(&self, lineage: &str) -> PathBuf {
        let folder = self.store().join("rancher-lets-encrypt/stuck");
        let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let is_it = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with(&format!("{lineage}.")) && name.ends_with(".over")
        };
        names.into_iter().find(is_it).unwrap()
    }

    /// Changes each order of a lineage that was put aside.
    pub(crate) fn edit_stuck(&self, lineage: &str, edit: impl Fn(&mut Value)) {
        let path = self.stuck_path(lineage);
        let text = std::fs::read_to_string(&path).unwrap();
        let mut orders: Vec<Value> = serde_json::from_str(&text).unwrap();
        orders.iter_mut().for_each(edit);
        std::fs::write(path, serde_json::to_string(&orders).unwrap()).unwrap();
    }

    /// The order in flight of a lineage.
    pub(crate) fn pending(&self, lineage: &str) -> Option<Value> {
        let text = std::fs::read_to_string(self.pending_path(lineage)).ok()?;
        // Each line is a whole order; the last one counts.
        Some(serde_json::from_str(text.lines().last()?).unwrap())
    }

    /// Changes the order in flight of a lineage.
    pub(crate) fn edit_pending(&self, lineage: &str, edit: impl FnOnce(&mut Value)) {
        let mut order = self.pending(lineage).unwrap();
        edit(&mut order);
        std::fs::write(self.pending_path(lineage), order.to_string()).unwrap();
    }
}

/// The records in a folder, which may not be there.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|own| own == "json")).collect()
}

/// Makes every time in a record so much earlier.
fn shift(value: &mut Value, by: Duration) {
    match value {
        Value::String(text) => {
            if OffsetDateTime::parse(text, &Rfc3339).is_ok() {
                *value = earlier(value, by);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| shift(item, by)),
        Value::Object(fields) => fields.values_mut().for_each(|field| shift(field, by)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A failure on record.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) subject: Value,
    pub(crate) detail: String,
    /// Its kind, empty if the table of reactions does not have it.
    pub(crate) failure_kind: String,
    pub(crate) count: u64,
    pub(crate) at: OffsetDateTime,
    pub(crate) until: OffsetDateTime,
}

impl Failure {
    fn of(line: &Value) -> Self {
        Self {
            subject: line["subject"].clone(),
            detail: line["detail"].as_str().unwrap().to_owned(),
            failure_kind: line["failure_kind"].as_str().unwrap_or_default().to_owned(),
            count: line["failures"].as_u64().unwrap(),
            at: moment(&line["at"]),
            until: moment(&line["until"]),
        }
    }

    /// How long is waited, but for the moment that noting it took.
    pub(crate) fn minutes(&self) -> i64 {
        let wait = self.until - self.at + Duration::seconds(15);
        wait.whole_minutes()
    }
}

/// A time on record.
pub(crate) fn moment(value: &Value) -> OffsetDateTime {
    OffsetDateTime::parse(value.as_str().unwrap(), &Rfc3339).unwrap()
}

/// The same time on record, but so much earlier.
pub(crate) fn earlier(value: &Value, by: Duration) -> Value {
    (moment(value) - by).format(&Rfc3339).unwrap().into()
}
