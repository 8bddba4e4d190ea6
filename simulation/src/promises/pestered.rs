//! Promise 2 seen from those who are asked: what is to no use is asked less and less.

use time::Duration;
use time::OffsetDateTime;

use crate::outside::State;
use crate::promises::Promise;

/// Looks at all that Rancher has in an hour: with each pass, of which one comes every ten seconds at most when nothing is
/// new. What is new may bring more for a while.
const LISTS: usize = 400;
/// After so long nobody expects an answer any more.
const HOPELESS: Duration = Duration::days(3);
/// Requests for each order in flight then, within a day: a look takes as many as three.
const LOOKS: usize = 6;

fn forget(times: &mut Vec<OffsetDateTime>, before: OffsetDateTime) {
    times.retain(|at| before <= *at);
}

impl State {
    /// Looks whether somebody was asked more often than it takes.
    pub fn check_pestered(&mut self) {
        let now = self.now();
        forget(&mut self.promises.listed, now - Duration::HOUR);
        let lists = self.promises.listed.len();
        if LISTS < lists {
            let text =
                format!("Rancher was asked {lists} times within an hour for all that it has");
            self.break_promise(Promise::NobodyIsPestered, text);
        }
    }

    /// Looks whether an authority that is gone since a time, and that nobody wants, is still asked for orders of before.
    pub fn check_spared(&mut self, directory: &'static str, since: OffsetDateTime, orders: usize) {
        let now = self.now();
        let Some(asked) = self.promises.asked_in_vain.get_mut(directory) else {
            return;
        };
        forget(asked, now - Duration::DAY);
        let asked = asked.len();
        if since + HOPELESS < now && LOOKS * orders < asked {
            let text =
                format!("{directory} is gone since {since}, and was asked {asked} times in a day");
            self.break_promise(Promise::NobodyIsPestered, text);
        }
    }
}
