//! What happened: the last of it to be read by people, all of it as one number to be compared.

use std::collections::VecDeque;

use time::OffsetDateTime;

use rancher_lets_encrypt::classify::timestamp;

/// How many lines are kept to be shown, of files and of everything else.
const SHOWN: [usize; 2] = [12, 40];

/// What happened, in order.
#[derive(Debug, Default)]
pub struct History {
    last: [VecDeque<(u64, String)>; 2],
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
        let kind = usize::from(!line.contains(" /store"));
        let last = &mut self.last[kind];
        if last.len() == SHOWN[kind] {
            last.pop_front();
        }
        last.push_back((self.lines, line));
    }

    /// Tells one history from another.
    pub fn digest(&self) -> (u64, u64) {
        (self.lines, self.digest)
    }

    /// The last lines.
    pub fn last(&self) -> Vec<String> {
        let mut last: Vec<&(u64, String)> = self.last.iter().flatten().collect();
        last.sort();
        last.into_iter().map(|(_, line)| line.clone()).collect()
    }
}
