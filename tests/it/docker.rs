//! The image and the project's own compose file in Docker, with Pebble and Rancher's model on the gateway of a
//! network of their own.

mod shell;
mod site;
mod stack;
mod workshop;

use std::path::Path;

use rancher_lets_encrypt::core::fingerprint::Fingerprint;
use sandbox::rancher::certificate::Held;
use serde_json::Value;
use serde_json::json;

use crate::docker::site::Site;
use crate::docker::stack::DAEMON;
use crate::docker::stack::NGINX;
use crate::docker::stack::Stack;
use crate::docker::workshop::Workshop;
use sandbox::parts::part::Part;

/// A scratch image holds one program; a megabyte more is a library that nobody asked for.
const LARGEST_IMAGE: u64 = 18_500_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stack_of_the_compose_file_issues_and_survives_its_containers_and_volumes() {
    let Some(workshop) = Workshop::open().await else {
        return;
    };
    let site = Site::start(&workshop).await;
    let stack = Stack::new(&workshop, &site).await;
    stack.volumes_belong_to_somebody_else().await;
    stack.start(NGINX).await;
    site.names_lead_to(stack.address(NGINX).await).await;
    stack.start(DAEMON).await;

    first_certificate_comes_through_the_shared_volumes(&stack).await;
    container_has_the_rights_of_the_compose_file_and_no_others(&stack).await;
    health_command_of_the_image_finds_the_daemon_well(&stack).await;
    stop_ends_it_in_time_and_the_same_container_starts_again(&stack).await;
    new_container_on_the_same_volumes_asks_for_nothing(&stack).await;
    new_volume_is_filled_from_rancher(&stack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn daemon_issues_and_starts_again_where_a_filter_denies_newer_calls() {
    let Some(workshop) = Workshop::open().await else {
        return;
    };
    let site = Site::start(&workshop).await;
    let stack = Stack::without_newer_calls(&workshop, &site).await;
    stack.start(NGINX).await;
    site.names_lead_to(stack.address(NGINX).await).await;
    stack.start(DAEMON).await;
    let mut log = stack.log(DAEMON).await;
    site.pushed(&log).await;
    log.settles().await;
    let options = stack.inspect(DAEMON).await["HostConfig"]["SecurityOpt"].clone();
    assert!(options.to_string().contains("statx"), "{options}");
    health_command_of_the_image_finds_the_daemon_well(&stack).await;
    stop_ends_it_in_time_and_the_same_container_starts_again(&stack).await;
}

async fn first_certificate_comes_through_the_shared_volumes(stack: &Stack<'_>) {
    let site = stack.site;
    let mut log = stack.log(DAEMON).await;
    site.pushed(&log).await;
    log.settles().await;
    assert_eq!(site.production.issued(), 1, "{}", log.text());
    assert_eq!(site.rancher.wakes().len(), 1, "{}", log.text());
    let web = stack.workshop.said(&["logs", &stack.id(NGINX).await]).await;
    assert!(web.contains("\" 200 "), "{web}");
    assert!(web.contains("LetsEncrypt-Pebble-VA"), "{web}");
    assert!(web.contains(rancher_lets_encrypt::client::USER_AGENT), "{web}");
}

async fn container_has_the_rights_of_the_compose_file_and_no_others(stack: &Stack<'_>) {
    let about = stack.inspect(DAEMON).await;
    let host = &about["HostConfig"];
    assert_eq!(host["ReadonlyRootfs"], true);
    assert_eq!(host["CapDrop"], json!(["ALL"]));
    assert_eq!(host["CapAdd"], json!(["DAC_OVERRIDE", "FOWNER"]));
    assert_eq!(host["SecurityOpt"], json!(["no-new-privileges"]));

    // What the kernel says of the process; the two capabilities are bits 1 and 3 (capabilities(7)).
    let pid = &about["State"]["Pid"];
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    for line in [
        "CapPrm:\t000000000000000a",
        "CapEff:\t000000000000000a",
        "CapBnd:\t000000000000000a",
        "CapAmb:\t0000000000000000",
        "NoNewPrivs:\t1",
    ] {
        assert!(status.contains(line), "{line}:\n{status}");
    }
    let id = stack.id(DAEMON).await;
    let roots = stack.site.path("acme-roots.pem");
    let into = format!("{id}:/etc/");
    let refused = stack.workshop.refused(&["cp", roots.to_str().unwrap(), &into]).await;
    assert!(refused.contains("read-only"), "{refused}");
    // Mount points, and the folders above them, are all that it has beside the image.
    let mounts = about["Mounts"].as_array().unwrap().iter();
    let mounts: Vec<&str> =
        mounts.filter_map(|mount| mount["Destination"].as_str()).chain(["/tmp"]).collect();
    let differs = stack.workshop.said(&["diff", &id]).await;
    for line in differs.lines() {
        let (_, path) = line.split_once(' ').unwrap();
        let leads_to = |mount: &&str| Path::new(mount).starts_with(path);
        assert!(mounts.iter().any(leads_to), "{line}");
    }
}

async fn health_command_of_the_image_finds_the_daemon_well(stack: &Stack<'_>) {
    let command = stack.workshop.health_command(&stack.image).await;
    let id = stack.id(DAEMON).await;
    let mut args = vec!["exec", &id];
    args.extend(command.iter().map(String::as_str));
    stack.workshop.said(&args).await;
}

async fn stop_ends_it_in_time_and_the_same_container_starts_again(stack: &Stack<'_>) {
    let id = stack.id(DAEMON).await;
    // Whoever does not end in time is killed, and then the code is 137.
    stack.workshop.said(&["stop", &id]).await;
    let state = stack.inspect(DAEMON).await["State"].clone();
    assert_eq!((&state["Status"], &state["ExitCode"]), (&json!("exited"), &json!(0)));
    let mut log = stack.log(DAEMON).await;
    log.says("stopped").await;
    let held = stack.site.held();
    stack.workshop.said(&["start", &id]).await;
    nothing_is_asked_for(stack, &held).await;
}

async fn new_container_on_the_same_volumes_asks_for_nothing(stack: &Stack<'_>) {
    let (before, held) = (stack.id(DAEMON).await, stack.site.held());
    stack.recreate(DAEMON).await;
    assert_ne!(stack.id(DAEMON).await, before);
    nothing_is_asked_for(stack, &held).await;
}

async fn new_volume_is_filled_from_rancher(stack: &Stack<'_>) {
    let (asked, held) = (stack.site.production.accounts(), stack.site.held());
    stack.remove(DAEMON).await;
    stack.remove_volume().await;
    stack.start(DAEMON).await;
    let mut log = stack.log(DAEMON).await;
    log.says("certificate restored from Rancher").await;
    nothing_is_asked_for(stack, &held).await;
    assert_eq!(stack.site.production.accounts(), asked);
    // It is the pair that Rancher holds, in its place.
    let leaf = stack.stored("live/a.example.com/cert.pem").await;
    let leaf = pem::parse(leaf).unwrap();
    assert_eq!(Fingerprint::of(&[leaf.contents()]).to_string(), held.leaf());
    assert_eq!(stack.stored("live/a.example.com/privkey.pem").await, held.key);
}

/// The daemon that runs now finds everything as it should be.
async fn nothing_is_asked_for(stack: &Stack<'_>, before: &Held) {
    let mut log = stack.log(DAEMON).await;
    log.settles().await;
    let site = stack.site;
    let asked = (site.production.orders(), site.production.issued());
    assert_eq!(asked, (1, 1), "{}", log.text());
    // Nor was anything written at Rancher, not even the same again.
    assert_eq!(site.held(), *before, "{}", log.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store_in_the_containers_own_layer_gets_no_production_order_and_says_so() {
    let Some(workshop) = Workshop::open().await else {
        return;
    };
    let site = Site::start(&workshop).await;
    let image = workshop.daemon_image().await;
    let id = site.run(&workshop, &image).await;
    let mut log = workshop.log(&id).await;
    let line = log.mentions("the store is not on a volume").await;
    assert_eq!(line["level"], "ERROR", "{line}");
    let is_told = |line: &Value| {
        line["message"] == "certificate needs attention"
            && line["reason"].as_str().is_some_and(|why| why.contains("mount a volume"))
    };
    log.next("why there is no certificate", is_told).await;
    log.settles().await;
    let asked = (site.production.accounts(), site.production.orders());
    assert_eq!(asked, (0, 0), "{}", log.text());

    // The engine finds it well all the same: a restart would change nothing.
    let mut events = workshop.command(&["events", "--since", "1", "--filter"]);
    events.arg(format!("container={id}")).args(["--filter", "event=health_status"]);
    let events = Part::start("docker events", events);
    events.says("health_status: healthy").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn image_is_small_and_its_health_command_sees_that_nobody_is_there() {
    let Some(workshop) = Workshop::open().await else {
        return;
    };
    let image = workshop.daemon_image().await;
    let about = workshop.about("image", &image).await;
    let size = about["Size"].as_u64().unwrap();
    assert!(size < LARGEST_IMAGE, "{size} bytes");
    let config = &about["Config"];
    assert_eq!(config["Entrypoint"], json!(["/rancher-lets-encrypt"]));
    assert_eq!(config["Volumes"], Value::Null);
    assert_eq!(config["StopSignal"], "SIGTERM");

    let command = workshop.health_command(&image).await;
    let settings = ["CATTLE_URL=http://127.0.0.1:9", "CATTLE_ACCESS_KEY=a", "CATTLE_SECRET_KEY=b"];
    let mut args = vec!["run", "--rm", "--network", "none"];
    args.extend(settings.iter().flat_map(|setting| ["--env", setting]));
    args.push(&image);
    args.extend(command.iter().skip(1).map(String::as_str));
    let said = workshop.refused(&args).await;
    assert!(said.contains("http://127.0.0.1:8080/healthz"), "{said}");
}
