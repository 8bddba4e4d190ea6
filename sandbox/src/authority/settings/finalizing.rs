//! What a finalize does where it does not simply issue.

use crate::authority::problem::Problem;
use crate::faults::Gate;

/// What a finalize does that found its order ready and its signing request in order.
#[derive(Debug, Clone)]
pub enum Finalizing {
    /// Refuses with this; the order stays ready and nothing is issued. `badCSR`, `unauthorized` and
    /// `rejectedIdentifier` are RFC 8555's; 429, 500 and 503 come before the order is touched. step-ca answered
    /// 500 "Transaction Conflict" in this way (seen; no recording).
    Refuse(Problem),
    /// Answers this; the order is invalid from then on, with this as its error, and nothing is issued. So does
    /// acme2certifier with 500 `serverInternal` "enrollment failed" when its backend refuses (seen; no recording).
    Fail(Problem),
    /// Issues, then answers this. step-ca did once: 500 after it had signed (seen; no recording).
    IssueThenRefuse(Problem),
    /// The order is processing, and stays so until [`go_on`](crate::authority::Authority::go_on) or
    /// [`give_up`](crate::authority::Authority::give_up). Nothing is issued before. Held against no recording: RFC
    /// 8555, 7.4 has no end for `processing`.
    Stick,
    /// Issues, and ends the order only with the answer, which waits for the gate. When the client goes away
    /// before, the certificate is issued and the order stays ready without one. So does OpenBao (seen in rounds of
    /// `kill -9`; no recording).
    ForgetWhenCut(Gate),
}
