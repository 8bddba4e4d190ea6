//! What happened: the last of it to be read by people, all of it as one number to be compared.

use std::collections::VecDeque;

use time::OffsetDateTime;

use rancher_lets_encrypt::classify::timestamp;

/// How many lines are kept to be shown.
const SHOWN: usize = 60;

/// What happened, in order.
#[derive(Debug, Default)]
pub struct History {
    last: VecDeque<String>,
    /// FNV-1a over every line.
    digest: u64,
    lines: u64,
    /// Whether every line goes to the standard error as well.
    pub is_loud: bool,
}

impl History {
    /// Adds a line.
    pub fn note(&mut self, at: OffsetDateTime, line: &str) {
        let line = format!("{} {line}", timestamp(at));
        for byte in line.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.lines += 1;
        if self.is_loud {
            eprintln!("{line}");
        }
        if self.last.len() == SHOWN {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// Tells one history from another.
    pub fn digest(&self) -> (u64, u64) {
        (self.lines, self.digest)
    }

    /// The last lines.
    pub fn last(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }
}
