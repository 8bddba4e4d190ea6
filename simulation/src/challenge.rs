//! The solver port: the webroot of an instance, and the way to it through a name.

use std::io;

use rancher_lets_encrypt::core::names::DomainName;
use rancher_lets_encrypt::core::resource::Http01;
use rancher_lets_encrypt::core::resource::Token;
use rancher_lets_encrypt::ports::Solver;
use time::Duration;

use crate::domains::Route;
use crate::life::Call;
use crate::life::Life;
use crate::outside::State;
use crate::trouble::Port;

/// How long our own look waits for an answer.
const SILENCE: Duration = Duration::seconds(30);

fn fault(text: &str) -> io::Error {
    io::Error::other(text.to_owned())
}

fn call<'a>(what: &'static str, on: &'a str, is_effect: bool) -> Call<'a> {
    Call { port: Port::Challenge, what, on, is_effect }
}

impl State {
    /// Whether a file with this content is served under a name, asked from inside or by an authority.
    pub(crate) fn serves(&self, name: &str, challenge: &Http01, is_inside: bool) -> bool {
        let is_reached = match self.domains.route(name) {
            Route::Well => true,
            Route::Broken | Route::Silent => false,
            Route::BrokenOutside => is_inside,
        };
        let is_there = |content: &String| *content == challenge.key_authorization;
        let mut found = self.places.iter().filter_map(|place| place.webroot.get(&challenge.token));
        is_reached && found.any(is_there)
    }
}

impl Solver for Life {
    fn supports(&self, name: &DomainName) -> bool {
        !self.outside.state().domains.unsolved.contains(name.as_str())
    }

    async fn present(&self, challenge: &Http01) -> io::Result<()> {
        let act = |state: &mut State| {
            let webroot = &mut state.home(self.instance).webroot;
            webroot.insert(challenge.token.clone(), challenge.key_authorization.clone());
            Ok(())
        };
        let call = call("publishes", challenge.token.as_str(), true);
        self.call(call, act, fault).await
    }

    async fn verify(&self, name: &DomainName, challenge: &Http01) -> Result<(), String> {
        let _turn = self.turn().await;
        let route = self.outside.state().domains.route(name.as_str());
        if route == Route::Silent {
            tokio::time::sleep(SILENCE.unsigned_abs()).await;
        }
        let act = |state: &mut State| {
            if state.serves(name.as_str(), challenge, true) {
                Ok(())
            } else {
                Err("not our token".to_owned())
            }
        };
        self.call(call("checks", name.as_str(), false), act, str::to_owned).await
    }

    async fn clean_up(&self, token: &Token) -> io::Result<()> {
        let act = |state: &mut State| {
            if !state.trouble.defect.keeps_tokens {
                state.home(self.instance).webroot.remove(token);
            }
            Ok(())
        };
        self.call(call("withdraws", token.as_str(), true), act, fault).await
    }

    async fn presented(&self) -> io::Result<Vec<(Token, String)>> {
        let act = |state: &mut State| {
            let webroot = &state.home(self.instance).webroot;
            Ok(webroot.iter().map(|(token, content)| (token.clone(), content.clone())).collect())
        };
        self.call(call("lists", "webroot", false), act, fault).await
    }
}
