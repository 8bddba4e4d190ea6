//! What happened: the last of it to be read by people, all of it as one number to be compared.

use std::collections::VecDeque;

use time::OffsetDateTime;

use rancher_lets_encrypt::core::text::timestamp;

/// How many lines are kept to be shown, of files and of everything else.
const SHOWN: [usize; 2] = [12, 40];

/// What happened, in order.
#[derive(Debug, Default)]
pub struct History {
    last: [VecDeque<(u64, OffsetDateTime, String)>; 2],
    /// FNV-1a over every line.
    digest: u64,
    lines: u64,
    /// Whether every line goes to the standard error as well.
    pub is_loud: bool,
}

impl History {
    /// Adds a line.
    pub fn note(&mut self, at: OffsetDateTime, line: String) {
        let time = at.unix_timestamp().to_be_bytes();
        for byte in time.into_iter().chain(line.bytes()) {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.lines += 1;
        if self.is_loud {
            eprintln!("{} {line}", timestamp(at));
        }
        let kind = usize::from(!line.contains(" /store"));
        let last = &mut self.last[kind];
        if last.len() == SHOWN[kind] {
            last.pop_front();
        }
        last.push_back((self.lines, at, line));
    }

    /// Tells one history from another.
    pub fn digest(&self) -> (u64, u64) {
        (self.lines, self.digest)
    }

    /// The last lines.
    pub fn last(&self) -> Vec<String> {
        let mut last: Vec<&(u64, OffsetDateTime, String)> = self.last.iter().flatten().collect();
        last.sort();
        last.into_iter().map(|(_, at, line)| format!("{} {line}", timestamp(*at))).collect()
    }
}
