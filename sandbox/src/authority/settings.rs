//! How the authority behaves. All but the first three settings can be changed while it runs.
//!
//! As it comes it does what Boulder does. Each of these makes it another authority:
//! - [`finalizing`]: a finalize that refuses, fails, sticks or is forgotten
//! - [`downloads`]: a certificate that is lost for a while
//! - [`challenges`]: failures that are not final, validations that the answer waits for
//! - [`shapes`]: order objects that lack fields
//! - [`doors`]: nothing works
//! - [`quirk`]: for whom, and how often

pub mod challenges;
pub mod doors;
pub mod downloads;
pub mod finalizing;
pub mod quirk;
pub mod shapes;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::time::Duration;

use self::challenges::Answered;
use self::challenges::Failing;
use self::challenges::SecondTell;
use self::doors::Door;
use self::downloads::Download;
use self::finalizing::Finalizing;
use self::quirk::Quirk;
use self::shapes::OrderShape;
use super::limits::Limits;
use super::problem::Problem;
use super::problem::RetryAfter;
use crate::certs::Subject;

/// When a refusal of names lists each of them as a subproblem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subproblems {
    /// Also when a single name is refused.
    Always,
    /// As Boulder: a single refused name is told in the detail only.
    WhenSeveral,
}

/// How an authority behaves.
#[derive(Debug, Clone)]
pub struct AuthoritySettings {
    /// Where it listens; port 0 is a free one. Read once, at the start.
    pub listen: SocketAddr,
    /// The host in its URLs when it is not the address that it listens on, as when that is 0.0.0.0. Read once, at
    /// the start.
    pub host: Option<String>,
    /// The name of the root. Read once, at the start.
    pub root: Subject,
    /// Names of the intermediates, the one that signs leaves first.
    pub intermediates: Vec<Subject>,
    /// How many intermediates follow the leaf: from 1 up to all of them.
    pub chain_length: usize,

    /// From notBefore to notAfter.
    pub lifetime: Duration,
    /// How far back notBefore lies.
    pub backdate: Duration,
    /// How far ahead notBefore lies, counted from where `backdate` puts it.
    pub postdate: Duration,
    /// Whether leaves have a common name.
    pub common_name: bool,
    /// Issues certificates for these names, whatever was ordered.
    pub wrong_names: Option<Vec<String>>,
    /// Issues certificates for a key that nobody has.
    pub wrong_key: bool,
    /// Sends intermediates of the right names that did not sign the leaf.
    pub wrong_chain: bool,

    /// Where HTTP-01 is fetched.
    pub validation_address: IpAddr,
    /// The port that stands for port 80.
    pub validation_port: u16,
    /// The port that stands for port 443, which a redirect may lead to.
    pub validation_tls_port: u16,
    /// How long a validation waits before it begins.
    pub validation_delay: Duration,
    /// How long a validation may take, redirects included.
    pub validation_timeout: Duration,
    /// Names that are fetched elsewhere.
    pub addresses: BTreeMap<String, SocketAddr>,
    /// Names that have no address: their validation fails with `dns`.
    pub unresolved: BTreeSet<String>,
    /// What every validation fails with, whatever it finds.
    pub validation_error: Option<Problem>,
    /// Validations whose failure is not final. Each failure counts as one time.
    pub failing: Vec<Quirk<Failing>>,
    /// When a POST to a challenge is answered.
    pub answered: Answered,
    /// Whether a challenge is `processing` while it is validated, as at Pebble since 2.5 and OpenBao; at Boulder it
    /// stays `pending` until it is decided.
    pub shows_processing: bool,

    /// Whether it works at all.
    pub door: Door,
    /// Names of which every request is taken and never answered, orders that have one among others too. Held
    /// against none.
    pub silent: BTreeSet<String>,
    /// Whether a new account must have a contact: else 400 `malformed` "Contact information is missing", as at
    /// acme2certifier (seen; no recording).
    pub contact_required: bool,
    /// Whether a new account must be bound to an external one: else 401 `externalAccountRequired`, as at OpenBao
    /// (seen; no recording). No binding is ever good enough here.
    pub binding_required: bool,
    /// What a finalize does in place of issuing.
    pub finalizing: Vec<Quirk<Finalizing>>,
    /// Downloads that do not give the certificate.
    pub downloads: Vec<Quirk<Download>>,
    /// Order objects that lack fields.
    pub shapes: Vec<Quirk<OrderShape>>,

    /// Every so many signed requests, one is refused with `badNonce`.
    pub bad_nonce_every: Option<u32>,
    /// So many signed requests of a hundred are refused with `badNonce`, which ones follows from `nonce_seed`. As
    /// Pebble's `PEBBLE_WFE_NONCEREJECT`.
    pub bad_nonce_percent: u64,
    /// What `bad_nonce_percent` is drawn by.
    pub nonce_seed: u64,
    /// Sent with orders, authorizations and challenges that are pending, however soon they are done.
    pub retry_after_pending: Option<RetryAfter>,
    /// Sent with orders that are processing. Let's Encrypt says 3 seconds; acme2certifier said 600 and was done
    /// after 90 (seen; no recording).
    pub retry_after_processing: Option<RetryAfter>,
    /// How long an order stays `processing` after it was finalized.
    pub processing: Duration,
    /// How long an order is kept from the moment on in which its certificate was issued; else it ends when it would have
    /// ended without.
    pub finalized_lifetime: Option<Duration>,
    /// Every answer is this late.
    pub request_delay: Duration,
    /// How far its clock is ahead, as its answers say.
    pub clock_ahead: time::Duration,
    /// Whether a new order takes over valid authorizations.
    pub reuse_authorizations: bool,
    /// Whether an identical order that is pending or ready is returned again.
    pub reuse_orders: bool,
    /// What telling twice gets.
    pub second_tell: SecondTell,
    /// Whether a failed validation is also told in the order, as Pebble does and Boulder does not.
    pub order_errors: bool,

    /// Rate limits.
    pub limits: Limits,
    /// Names whose orders are refused until a person unpauses them.
    pub paused: BTreeSet<String>,
    /// Names that policy forbids.
    pub blocked: BTreeSet<String>,
    /// How the refusal of names is told.
    pub subproblems: Subproblems,
}

impl AuthoritySettings {
    /// An authority of neutral names.
    pub fn production() -> Self {
        let organization = "Sandbox Trust";
        let name = |common_name| Subject::new(organization, common_name).in_country("US");
        Self::of(name("SB Root"), vec![name("SB1"), name("SB Root Y"), name("SB Root X")])
    }

    /// An authority whose names are those of Let's Encrypt's staging environment.
    pub fn staging() -> Self {
        let name =
            |organization, common_name| Subject::new(organization, common_name).in_country("US");
        let old = "(STAGING) Internet Security Research Group";
        Self::of(
            name(old, "(STAGING) Pretend Pear X1"),
            vec![
                name("Let's Encrypt", "(STAGING) Ersatz Emmer YR2"),
                name("ISRG", "(STAGING) Yonder Yam Root YR"),
                name(old, "(STAGING) Bogus Broccoli X2"),
            ],
        )
    }

    fn of(root: Subject, intermediates: Vec<Subject>) -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            host: None,
            root,
            intermediates,
            chain_length: 2,
            lifetime: Duration::from_hours(90 * 24),
            backdate: Duration::from_hours(1),
            postdate: Duration::ZERO,
            common_name: true,
            wrong_names: None,
            wrong_key: false,
            wrong_chain: false,
            validation_address: Ipv4Addr::LOCALHOST.into(),
            validation_port: 80,
            validation_tls_port: 443,
            validation_delay: Duration::ZERO,
            validation_timeout: Duration::from_secs(10),
            addresses: BTreeMap::new(),
            unresolved: BTreeSet::new(),
            validation_error: None,
            failing: Vec::new(),
            answered: Answered::AtOnce,
            shows_processing: false,
            door: Door::Open,
            silent: BTreeSet::new(),
            contact_required: false,
            binding_required: false,
            finalizing: Vec::new(),
            downloads: Vec::new(),
            shapes: Vec::new(),
            bad_nonce_every: None,
            bad_nonce_percent: 0,
            nonce_seed: 0,
            retry_after_pending: None,
            retry_after_processing: None,
            processing: Duration::ZERO,
            finalized_lifetime: None,
            request_delay: Duration::ZERO,
            clock_ahead: time::Duration::ZERO,
            reuse_authorizations: true,
            reuse_orders: true,
            second_tell: SecondTell::Conflict409,
            order_errors: false,
            limits: Limits::default(),
            paused: BTreeSet::new(),
            blocked: BTreeSet::new(),
            subproblems: Subproblems::Always,
        }
    }

    /// The intermediates of the chain.
    pub(super) fn chain(&self) -> &[Subject] {
        let most = self.intermediates.len();
        &self.intermediates[..self.chain_length.clamp(most.min(1), most)]
    }
}
