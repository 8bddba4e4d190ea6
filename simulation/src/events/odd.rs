//! What authorities do otherwise than Boulder, for a while.

use time::Duration;

use crate::authority::oddities::Failing;
use crate::authority::oddities::Oddities;
use crate::events::End;
use crate::events::World;
use crate::outside::State;
use crate::promises::issuing::STATE_LOST;

/// What an authority does for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Odd {
    Sticks,
    SticksForEver,
    Loses,
    Refuses,
    Fails,
    Forgets,
    StaysPending,
    TriesAgain,
    IsSilent,
    IsGone,
    LosesState,
}

const ALL: [Odd; 11] = [
    Odd::Sticks,
    Odd::SticksForEver,
    Odd::Loses,
    Odd::Refuses,
    Odd::Fails,
    Odd::Forgets,
    Odd::StaysPending,
    Odd::TriesAgain,
    Odd::IsSilent,
    Odd::IsGone,
    Odd::LosesState,
];

impl World {
    /// Both directories turn odd in one way, or one of them is gone or loses what it knows.
    pub(super) fn turns_odd(&mut self) {
        let odd = *self.dice.pick(&ALL);
        let which = self.dice.index(2);
        let name = self.any_name();
        let longest = if odd == Odd::IsGone { Duration::days(20) } else { Duration::days(6) };
        {
            let mut state = self.outside.state();
            state.note(format!("the authority is odd: {odd:?}"));
            state.promises.calm_since = None;
            match odd {
                Odd::LosesState => return lose_state(&mut state, which),
                Odd::IsGone => state.authority.all_mut()[which].oddities.is_gone = true,
                Odd::IsSilent => {
                    let Some(name) = name else { return };
                    state.silence(&name);
                }
                Odd::Sticks
                | Odd::SticksForEver
                | Odd::Loses
                | Odd::Refuses
                | Odd::Fails
                | Odd::Forgets
                | Odd::StaysPending
                | Odd::TriesAgain => {
                    for directory in state.authority.all_mut() {
                        turn(odd, &mut directory.oddities);
                    }
                }
            }
        }
        self.later(Duration::hours(1), longest, End::Odd);
    }
}

fn turn(odd: Odd, oddities: &mut Oddities) {
    match odd {
        Odd::Sticks => {
            oddities.sticks = 500;
            oddities.sticks_for = Duration::days(4);
            oddities.sticks_in_vain = 300;
        }
        Odd::SticksForEver => {
            oddities.sticks = 500;
            oddities.sticks_for_ever = 1000;
        }
        Odd::Loses => {
            oddities.loses = 500;
            oddities.loses_for = Duration::days(3);
        }
        Odd::Refuses => oddities.refuses = 500,
        Odd::Fails => {
            oddities.fails = 300;
            oddities.fails_after = 300;
        }
        Odd::Forgets => {
            oddities.forgets = true;
            oddities.tears = 500;
        }
        Odd::StaysPending => oddities.failing = Failing::StaysPending,
        Odd::TriesAgain => oddities.failing = Failing::TriedAgain,
        Odd::IsSilent | Odd::IsGone | Odd::LosesState => {}
    }
}

fn lose_state(state: &mut State, which: usize) {
    state.destroy(STATE_LOST, |state| {
        state.authority.all_mut()[which].lose_state();
    });
}

impl State {
    /// Authorities say nothing about a name from now on, or nothing any more.
    fn silence(&mut self, name: &str) {
        for directory in self.authority.all_mut() {
            directory.oddities.silent.insert(name.to_owned());
        }
    }

    /// Authorities do as others do.
    pub(super) fn end_oddities(&mut self) {
        for directory in self.authority.all_mut() {
            directory.oddities.end();
        }
    }
}
