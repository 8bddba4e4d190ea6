//! What goes wrong between the daemon and Rancher.

use crate::real::faults::Way;
use crate::real::faults::check;
use crate::real::scene::Scene;
use crate::support::platform::add;
use crate::support::platform::self_signed;
use sandbox::rancher::service::ServiceKind;
use sandbox::rancher::service::ServiceSpec;

/// Whoever does not find our own service wakes a balancer.
fn somebody_else_to_wake(scene: &Scene, name: &str) {
    let mut balancer = ServiceSpec::new("balancers", name);
    balancer.kind = ServiceKind::LoadBalancer;
    drop(scene.rancher.add_service(balancer));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_fault_at_the_list_of_certificates_costs_no_certificate() {
    check(Way::Api, &["list-certificates"], |_, _| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_fault_at_a_post_leaves_one_certificate_at_rancher() {
    check(Way::Api, &["create-certificate"], |_, _| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_fault_at_a_put_leaves_one_certificate_at_rancher() {
    check(Way::Api, &["put-certificate"], |scene, name| {
        add(&scene.rancher, name, &self_signed(&[name]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_fault_at_a_look_costs_no_certificate() {
    check(Way::Api, &["get-certificate"], |scene, name| {
        add(&scene.rancher, name, &self_signed(&[name]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_fault_at_the_wake_up_is_made_good() {
    check(Way::Api, &["wake"], |_, _| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_fault_at_the_list_of_services_still_wakes() {
    check(Way::Api, &["list-services"], somebody_else_to_wake).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_fault_at_metadata_costs_no_certificate() {
    let endpoints = ["services", "containers", "uuid", "self"];
    check(Way::Metadata, &endpoints, somebody_else_to_wake).await;
}
