//! The table: a row for each kind of failure, and how it reads in the README.

use std::fmt::Write;

use crate::core::reaction::Backoff;
use crate::core::reaction::FailureKind;
use crate::core::reaction::Reaction;

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The kind of failure.
    pub kind: FailureKind,
    /// What is seen of it.
    pub seen: &'static str,
    /// What is done.
    pub reaction: Reaction,
    /// When it is tried again.
    pub backoff: Backoff,
    /// What a person can do.
    pub advice: &'static str,
}

const fn row(
    kind: FailureKind,
    seen: &'static str,
    reaction: Reaction,
    backoff: Backoff,
    advice: &'static str,
) -> Row {
    Row { kind, seen, reaction, backoff, advice }
}

/// Every kind of failure.
pub const TABLE: [Row; 34] = {
    use Backoff as C;
    use FailureKind as T;
    use Reaction as R;
    [
        row(
            T::NoAnswer,
            "CA: no answer or a cut one, 502 to 504, a page that is not the CA's; 5xx of its directory, for a nonce or an account",
            R::Retry,
            C::Silence,
            "if it lasts, check the way from here to the CA (firewall, proxy, DNS)",
        ),
        row(
            T::NoDirectory,
            "CA: no ACME directory at its URL (404, another page)",
            R::Change,
            C::Silence,
            "check `ACME_DIRECTORY` or `ACME_STAGING_DIRECTORY`, whichever it is, letter by letter; some CAs have to be told to speak ACME first",
        ),
        row(
            T::Failed,
            "CA: 500 or a senseless answer for one order",
            R::Retry,
            C::Silence,
            "the others go on; if it lasts, tell the CA",
        ),
        row(
            T::BadNonce,
            "CA: `badNonce`, twenty times in a row",
            R::Retry,
            C::Silence,
            "if it lasts, tell the CA: several servers that do not share their nonces look like this",
        ),
        row(
            T::Overloaded,
            "CA: the same or 500, with a `Retry-After` that is not over",
            R::Wait,
            C::Told,
            "nothing, it passes",
        ),
        row(
            T::Limited,
            "CA: 429 about names",
            R::Wait,
            C::Limit,
            "nothing is lost; fewer new names at a time",
        ),
        row(
            T::AccountLimited,
            "CA: 429 about orders of the account or accounts of the address",
            R::Wait,
            C::Limit,
            "nothing is lost; nothing else is ordered until then",
        ),
        row(
            T::Paused,
            "CA: 429 without a time, with an address to open",
            R::Person,
            C::Daily,
            "open the address in this line",
        ),
        row(
            T::AccountUnknown,
            "CA: `accountDoesNotExist`",
            R::Retry,
            C::AtOnce,
            "nothing: it is made again with the same key; check CAA records with `accounturi`",
        ),
        row(
            T::AccountRefused,
            "CA: `unauthorized` for the account",
            R::Person,
            C::Refusal,
            "the account is deactivated or blocked: ask the CA, or remove its file in `rancher-lets-encrypt/accounts` for a new one",
        ),
        row(
            T::ActionRequired,
            "CA: `externalAccountRequired`, `userActionRequired`",
            R::Person,
            C::Refusal,
            "this CA wants more than an account: open the address in this line, if it gives one, or choose another `ACME_DIRECTORY`",
        ),
        row(
            T::ContactRefused,
            "CA: `invalidContact`, `unsupportedContact`",
            R::Change,
            C::Refusal,
            "correct `CERTBOT_EMAIL`, or leave it empty: the account works without",
        ),
        row(
            T::AccountNotMade,
            "CA: another refusal to make an account, such as `malformed` where a contact is missing",
            R::Person,
            C::Refusal,
            "read what it says: it may want `CERTBOT_EMAIL`, which is asked with at once when it is changed, or an account that is arranged with it before",
        ),
        row(
            T::NameRefused,
            "CA: `rejectedIdentifier`, `unsupportedIdentifier`, `malformed` about single names",
            R::Change,
            C::Daily,
            "the CA does not certify this name: remove it",
        ),
        row(
            T::KeyRefused,
            "CA: `badCSR`, `badPublicKey`, `badSignatureAlgorithm`",
            R::Change,
            C::Daily,
            "another key is tried at once; if it lasts, please report it",
        ),
        row(
            T::Misunderstood,
            "CA: `malformed` otherwise, `invalidProfile`",
            R::Person,
            C::Daily,
            "this program and the CA do not understand each other: update it, or report this line",
        ),
        row(
            T::Refused,
            "CA: another refusal",
            R::Change,
            C::Refusal,
            "read what it says; if it makes no sense, please report it",
        ),
        row(
            T::OrderGone,
            "CA: 404 for an order",
            R::Retry,
            C::AtOnce,
            "nothing: it is opened again",
        ),
        row(
            T::NotReady,
            "CA: `orderNotReady`",
            R::Retry,
            C::AtOnce,
            "nothing: the order is looked at",
        ),
        row(
            T::BeingValidated,
            "CA: 409 for a challenge",
            R::Retry,
            C::AtOnce,
            "nothing: it is being validated, and looked at for an hour at most",
        ),
        row(
            T::Unreachable,
            "validation: `connection`, `tls`",
            R::Change,
            C::Refusal,
            "port 80 of this name must be reached from the internet over every address it has: firewall, IPv6 address that leads elsewhere",
        ),
        row(
            T::NoAddress,
            "validation: `dns`",
            R::Change,
            C::Refusal,
            "the name needs an A or AAAA record that everybody sees",
        ),
        row(
            T::Caa,
            "validation: `caa`",
            R::Change,
            C::Daily,
            "a CAA record of this name or above it must allow the CA",
        ),
        row(
            T::CaaLookup,
            "validation: `caa` or `dns`, because CAA records could not be looked up",
            R::Change,
            C::Refusal,
            "the name servers of this name, or of one above it, must answer questions for CAA, if only with \"none\": SERVFAIL, time-outs and broken DNSSEC count as no",
        ),
        row(
            T::WrongAnswer,
            "validation: `unauthorized`, `incorrectResponse`",
            R::Change,
            C::Refusal,
            "`/.well-known/acme-challenge/` of this name must lead to our nginx, before every other rule",
        ),
        row(
            T::Invalid,
            "validation: anything else",
            R::Change,
            C::Refusal,
            "read what the CA says",
        ),
        row(
            T::SelfCheck,
            "self-check: our token was not found through the name",
            R::Change,
            C::Setback,
            "`/.well-known/acme-challenge/` of this name must lead to our nginx; if it cannot be reached from inside: `SELF_CHECK_ADDRESS` or `SELF_CHECK=warn`",
        ),
        row(
            T::OrderStuck,
            "the order was finalized a day ago, and no certificate came",
            R::Person,
            C::Daily,
            "ask the CA about the order in this line; its key is kept, and its certificate is fetched if it comes",
        ),
        row(
            T::WrongCertificate,
            "the certificate that came has wrong names, key, dates or chain",
            R::Change,
            C::Daily,
            "it is kept in `pending` and looked at again in every pass; tell the CA",
        ),
        row(
            T::DestinationAway,
            "destination: no answer, 5xx",
            R::Retry,
            C::Setback,
            "if it lasts, check `CATTLE_URL` and Rancher itself, or the folder and its disk",
        ),
        row(
            T::DestinationBusy,
            "destination: a change is still carried out, or the name was taken meanwhile (Rancher's 409, `NotUnique`)",
            R::Retry,
            C::Setback,
            "nothing: what is there is looked at again, and replaced if it is ours to replace",
        ),
        row(
            T::DestinationDenied,
            "destination: Rancher's 401 and 403, a missing role",
            R::Person,
            C::Setback,
            "the line names the variable, label or right to change",
        ),
        row(
            T::DestinationRefused,
            "destination: another refusal",
            R::Change,
            C::Setback,
            "read what it says",
        ),
        row(
            T::Disk,
            "a file that cannot be written or read",
            R::Change,
            C::Setback,
            "make room, mount the volume writable, or see to its rights; nothing is lost",
        ),
    ]
};

/// The table as Markdown.
pub fn render() -> String {
    let mut text =
        "| what happened | reaction | next try | what to do |\n| --- | --- | --- | --- |\n"
            .to_owned();
    for row in TABLE {
        let reaction = match row.reaction {
            Reaction::Retry => "again soon",
            Reaction::Wait => "wait",
            Reaction::Change => "until something changes",
            Reaction::Person => "a person must act",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {reaction} | {} | {} |",
            row.seen,
            row.backoff.text(),
            row.advice
        );
    }
    text
}
