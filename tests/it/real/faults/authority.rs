//! What goes wrong between the daemon and the authority.

use crate::real::faults::Way;
use crate::real::faults::check;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_fault_at_the_directory_costs_no_certificate() {
    check(Way::Authority, &["directory"], |_, _| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_fault_at_the_first_nonce_costs_no_certificate() {
    check(Way::Authority, &["new-nonce"], |_, _| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_fault_at_a_new_account_costs_no_certificate() {
    check(Way::Authority, &["new-account"], |_, _| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_fault_at_a_new_order_costs_no_certificate() {
    check(Way::Authority, &["new-order"], |_, _| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_fault_at_an_authorization_costs_no_certificate() {
    check(Way::Authority, &["authorization"], |_, _| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_fault_at_a_challenge_costs_no_certificate() {
    check(Way::Authority, &["challenge"], |_, _| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_fault_at_finalize_costs_no_certificate() {
    check(Way::Authority, &["finalize"], |_, _| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_fault_at_a_look_at_the_order_costs_no_certificate() {
    check(Way::Authority, &["order"], |_, _| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_fault_at_the_download_costs_no_certificate() {
    check(Way::Authority, &["certificate"], |_, _| {}).await;
}
