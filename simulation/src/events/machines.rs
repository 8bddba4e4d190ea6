//! What machines do: volumes that are lost, disks that fill up, clocks that jump, crashes, a second instance.

use time::Duration;

use crate::events::End;
use crate::events::World;
use crate::files::Files;
use crate::files::loss::Loss;
use crate::observer::Observer;
use crate::outside::DiskState;
use crate::outside::Place;
use crate::trouble::Crash;

impl World {
    /// The volume is wiped, or restored from an older backup, while nobody uses it.
    pub(super) async fn loses_volume(&mut self) {
        if self.volume_backup.is_none() && self.dice.chance(500) {
            self.volume_backup = Some(self.outside.state().places[0].volume.clone());
            return;
        }
        let stopped = self.stops_processes().await;
        {
            let mut state = self.outside.state();
            let is_wiped = self.volume_backup.is_none() || self.dice.chance(600);
            let what = if is_wiped { "wiped" } else { "restored" };
            state.note(format!("the volume is {what}"));
            let volume = if is_wiped {
                Files::default()
            } else {
                self.volume_backup.take().unwrap_or_default()
            };
            if is_wiped {
                state.places[0].observer = Observer::default();
            }
            state.destroy("the volume was lost", |state| {
                state.places[0].volume = volume;
                state.places[0].webroot.clear();
            });
            state.promises.store_lost_at = Some(state.now());
        }
        self.starts_processes(&stopped);
    }

    /// Ends everything that uses the first volume, or waits for it; answers what that was.
    pub(super) async fn stops_processes(&mut self) -> Vec<usize> {
        let stopped: Vec<usize> = {
            let state = self.outside.state();
            let places = state.places.iter().enumerate();
            places
                .filter(|(_, place)| place.is_there && place.home == 0)
                .map(|(instance, _)| instance)
                .collect()
        };
        for instance in &stopped {
            self.switches[*instance].turn(false);
        }
        tokio::time::sleep(Duration::minutes(1).unsigned_abs()).await;
        stopped
    }

    pub(super) fn starts_processes(&self, stopped: &[usize]) {
        for instance in stopped {
            self.switches[*instance].turn(true);
        }
    }

    pub(super) fn fills_disk(&mut self) {
        {
            let mut state = self.outside.state();
            let room = usize::try_from(self.dice.below(6000)).unwrap_or(0);
            let disk = if self.dice.chance(700) {
                DiskState::Full(state.places[0].volume.size() + room)
            } else {
                DiskState::ReadOnly
            };
            state.note(format!("the disk is {disk:?}"));
            state.places[0].disk = disk;
        }
        self.later(Duration::minutes(10), Duration::days(3), End::Disk);
    }

    pub(super) fn turns_clock(&mut self) {
        {
            let mut state = self.outside.state();
            let most = *self.dice.pick(&[
                Duration::minutes(10),
                Duration::hours(12),
                Duration::days(10),
                Duration::days(120),
            ]);
            let ahead = self.dice.time(-most, most);
            state.note(format!("the clock is {ahead} ahead"));
            state.places[0].skew = ahead;
            state.promises.jumped_at = Some(state.now());
        }
        self.later(Duration::minutes(10), Duration::days(2), End::Clock);
    }

    pub(super) fn crashes(&mut self) {
        let mut state = self.outside.state();
        let loss = *self.dice.pick(&[Loss::Nothing, Loss::Everything, Loss::Some]);
        let running = state.places.iter().position(|place| place.is_running);
        state.trouble.crashes[running.unwrap_or(0)] =
            Some(Crash { after: 1 + self.dice.below(120), is_before: self.dice.chance(300), loss });
    }

    pub(super) fn starts_second(&mut self) {
        if self.outside.state().places[1].is_there {
            return;
        }
        {
            let home = usize::from(self.dice.chance(600));
            let mut state = self.outside.state();
            state.note(if home == 0 {
                "a second instance begins on the same volume"
            } else {
                "a second instance begins on a volume of its own"
            });
            state.places[1] = Place { is_there: true, home, ..Place::default() };
        }
        self.switches[1].turn(true);
        self.later(Duration::hours(1), Duration::days(20), End::Second);
    }
}
