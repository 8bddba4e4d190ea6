//! Files that were read whole and are not what they should be, and those that are gone: nothing is lost, and as little
//! as possible is issued again.

use sandbox::faults::Gate;
use sandbox::faults::What;
use sandbox::rancher::settings::Availability;

use crate::support::LABEL;
use crate::support::World;
use crate::support::guarded;
use crate::support::leaf;
use crate::support::tree::issued_before;
use crate::support::tree::lay;
use crate::support::tree::renewal_conf;

const A: &str = "a.example.com";

fn tear(path: &std::path::Path) -> Vec<u8> {
    let whole = std::fs::read(path).unwrap();
    // Half of two certificates may be one of them, whole.
    let torn = whole[..whole.len() / 3].to_vec();
    std::fs::write(path, &torn).unwrap();
    torn
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_record_costs_no_certificate() {
    let world = World::start().await;
    let mut daemon = world.settled(A).await;
    let path = world.own("certificates/a.example.com.json");
    // While the daemon runs, then while it does not.
    let torn = tear(&path);
    daemon.says("broken record set aside and made again").await;
    daemon.settles().await;
    let aside = path.with_file_name("a.example.com.json.broken");
    assert_eq!(std::fs::read(aside).unwrap(), torn);
    daemon.stop().await;
    tear(&path);
    let mut daemon = world.daemon(A);
    daemon.settles().await;
    assert_eq!(world.issued(A), [world.served()], "{}", daemon.text());
    assert!(!world.store().join("live/a.example.com-0001").exists());
    let held = world.rancher.certificate(A).unwrap();
    assert_eq!(held.puts, 0, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_record_without_the_store_beside_it_is_restored_from_rancher() {
    let world = World::start().await;
    world.settled(A).await.stop().await;
    tear(&world.own("certificates/a.example.com.json"));
    std::fs::remove_file(world.store().join("renewal/a.example.com.conf")).unwrap();
    let mut daemon = world.daemon(A);
    daemon.says("certificate restored from Rancher").await;
    daemon.settles().await;
    assert_eq!(world.issued(A), [world.served()], "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_certificate_comes_back_from_rancher() {
    let world = World::start().await;
    let daemon = world.settled(A).await;
    let archive = world.store().join("archive/a.example.com");
    // Within the leaf, then within the intermediate, where what is left reads as a leaf alone.
    let served = world.served();
    let mut daemon = daemon;
    for (version, cut) in [(1, 100), (2, 0)] {
        let file = archive.join(format!("fullchain{version}.pem"));
        let whole = std::fs::read_to_string(&file).unwrap();
        let length = match cut {
            0 => whole.rfind("-----BEGIN").unwrap() + 100,
            cut => cut,
        };
        std::fs::write(&file, &whole[..length]).unwrap();
        daemon.says("certificate restored from Rancher").await;
        daemon.settles().await;
        assert_eq!(std::fs::read(&file).unwrap().len(), length, "it is kept");
        let told = format!("version {version} in {}: ", archive.display());
        assert!(daemon.text().contains(&told), "{}", daemon.text());
        let live = std::fs::read_to_string(world.live(A, "fullchain.pem")).unwrap();
        assert_eq!(live, whole);
    }
    assert_eq!(world.issued(A), [served], "{}", daemon.text());
    let held = world.rancher.certificate(A).unwrap();
    assert_eq!(held.puts, 0, "nothing torn was pushed: {}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_certificate_that_rancher_does_not_have_is_issued_once_more() {
    for file in ["fullchain1.pem", "privkey1.pem"] {
        let world = World::start().await;
        let conf = renewal_conf(&world.store(), A, &world.production.directory_url(), &[A]);
        lay(&world.store(), A, &conf, &[issued_before(&[A], 70)]);
        let path = world.store().join("archive").join(A).join(file);
        let whole = std::fs::read_to_string(&path).unwrap();
        let torn = &whole[..whole.len() - 30];
        std::fs::write(&path, torn).unwrap();
        let mut daemon = world.daemon(A);
        world.pushed(A).await;
        daemon.settles().await;
        assert_eq!(world.issued(A).len(), 1, "{}", daemon.text());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), torn);
        let live = std::fs::read_link(world.live(A, "privkey.pem")).unwrap();
        assert!(live.ends_with("archive/a.example.com/privkey2.pem"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lineage_that_was_deleted_comes_back_from_rancher() {
    let world = World::start().await;
    let mut daemon = world.settled(A).await;
    let served = world.served();
    // As `certbot delete` does, while the daemon runs.
    std::fs::remove_file(world.store().join("renewal/a.example.com.conf")).unwrap();
    for folder in ["live", "archive"] {
        std::fs::remove_dir_all(world.store().join(folder).join(A)).unwrap();
    }
    daemon.says("certificate restored from Rancher").await;
    daemon.settles().await;
    let live = std::fs::read_to_string(world.live(A, "cert.pem")).unwrap();
    assert_eq!(leaf(&live), served);
    assert_eq!(world.issued(A), [served], "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_gone_comes_back_from_rancher() {
    for file in ["fullchain1.pem", "privkey1.pem"] {
        let world = World::start().await;
        let mut daemon = world.settled(A).await;
        let served = world.served();
        std::fs::remove_file(world.store().join("archive").join(A).join(file)).unwrap();
        daemon.says("certificate restored from Rancher").await;
        daemon.settles().await;
        let live = std::fs::read_to_string(world.live(A, "cert.pem")).unwrap();
        assert_eq!(leaf(&live), served);
        assert_eq!(world.issued(A), [served], "{}", daemon.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_was_stored_before_a_crash_delays_no_renewal() {
    let world = World::start().await;
    world.production.set(|settings| {
        // Due when it is seven seconds old at the earliest, and valid for twelve more.
        settings.lifetime = std::time::Duration::from_secs(24);
        settings.backdate = std::time::Duration::from_secs(4);
    });
    let gate = Gate::new();
    let faults = world.production.faults();
    faults.add("certificate", 1, What::Hold(gate.clone()));
    let daemon = world.daemon(A);
    guarded("the download", gate.reached(1)).await;
    let order = std::fs::read_to_string(world.order_file()).unwrap();
    gate.open();
    world.pushed(A).await;
    daemon.kill().await;
    // As if it had been killed between the record and the end of the order.
    let mut order: serde_json::Value = serde_json::from_str(order.lines().last().unwrap()).unwrap();
    let issued = world.production.issued().remove(0);
    let at = (issued.not_before + time::Duration::seconds(4))
        .format(&time::format_description::well_known::Rfc3339);
    order["received"] = serde_json::json!({"chain": issued.chain_pem, "at": at.unwrap()});
    std::fs::create_dir_all(world.order_file().parent().unwrap()).unwrap();
    std::fs::write(world.order_file(), order.to_string()).unwrap();
    let mut daemon = world.daemon(A);
    let renewed = world.production.until(|state| state.issued().len() == 2);
    guarded("the renewal", renewed).await;
    let next = world.production.issued().remove(1);
    assert!(next.not_before < issued.not_after, "{}", daemon.text());
    daemon.says("certificate issued").await;
    let mut names: Vec<_> = std::fs::read_dir(world.store().join("archive/a.example.com"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("cert"))
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["cert1.pem", "cert2.pem"], "{}", daemon.text());
    assert!(!world.order_file().exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_a_power_failure_brings_back_without_its_chain_is_not_stored_twice() {
    let world = World::start().await;
    let gate = Gate::new();
    let faults = world.production.faults();
    faults.add("certificate", 1, What::Hold(gate.clone()));
    let daemon = world.daemon(A);
    guarded("the download", gate.reached(1)).await;
    let order = std::fs::read_to_string(world.order_file()).unwrap();
    gate.open();
    world.pushed(A).await;
    daemon.kill().await;
    std::fs::write(world.order_file(), order).unwrap();
    let mut daemon = world.daemon(A);
    daemon.says("stored before, order cleared now").await;
    daemon.settles().await;
    assert!(!world.order_file().exists(), "{}", daemon.text());
    let archived = std::fs::read_dir(world.store().join("archive/a.example.com")).unwrap();
    assert_eq!(archived.count(), 4, "{}", daemon.text());
    assert_eq!(world.production.issued().len(), 1, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_order_is_set_aside_and_another_is_opened() {
    let world = World::start().await;
    // Before finalize, so that the floor allows another.
    world.killed_at("challenge").await;
    let whole = std::fs::read_to_string(world.order_file()).unwrap();
    std::fs::write(world.order_file(), whole.lines().next().unwrap()).unwrap();
    let torn = tear(&world.order_file());
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.settles().await;
    let aside = world.order_file().with_extension("json.broken");
    assert_eq!(std::fs::read(aside).unwrap(), torn);
    assert_eq!(world.issued(A).len(), 1, "{}", daemon.text());
    assert!(world.live(A, "cert.pem").exists(), "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_account_is_set_aside_and_another_one_made() {
    let world = World::start().await;
    world.settled(A).await.stop().await;
    let file = world.account_file();
    let torn = tear(&file);
    let mut daemon = world.daemon("a.example.com,b.example.com");
    world.pushed("b.example.com").await;
    daemon.settles().await;
    assert_eq!(world.production.accounts().len(), 2);
    assert_eq!(world.production.issued().len(), 2, "{}", daemon.text());
    let aside = format!("{}.broken", file.display());
    assert_eq!(std::fs::read(aside).unwrap(), torn);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_key_is_kept_before_it_is_used() {
    let world = World::start().await;
    world.killed_at("new-account").await;
    let record = std::fs::read_to_string(world.account_file()).unwrap();
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.settles().await;
    let key = |text: &str| {
        let record: serde_json::Value = serde_json::from_str(text).unwrap();
        record["key"].clone()
    };
    let after = std::fs::read_to_string(world.account_file()).unwrap();
    assert!(key(&record).is_string());
    assert_eq!(key(&record), key(&after));
    assert_eq!(world.production.accounts().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn torn_names_are_learned_again() {
    let world = World::start().await;
    let service = world.announce("shop", "web", A);
    let mut daemon = world.daemon("");
    world.pushed(A).await;
    daemon.settles().await;
    daemon.stop().await;
    world.rancher.metadata_is(Availability::Refused).await.unwrap();
    let file = world.own("names.json");
    let torn = tear(&file);
    let mut daemon = world.daemon("");
    daemon.says("broken file set aside").await;
    daemon.passes(1).await;
    assert!(!daemon.text().contains("nobody wants"), "{}", daemon.text());
    assert_eq!(std::fs::read(file.with_file_name("names.json.broken")).unwrap(), torn);
    world.rancher.metadata_is(Availability::Up).await.unwrap();
    daemon.next("a decision", |line| line["message"] == "decided").await;
    daemon.settles().await;
    assert_eq!(world.issued(A).len(), 1);
    // And what is gone is told.
    world.rancher.set_label(&service, LABEL, None);
    world.rancher.reload_metadata();
    daemon.mentions("nobody wants").await;
    assert_eq!(world.issued(A).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_floor_survives_a_torn_ledger_a_restart_and_the_loss_of_all_else() {
    let world = World::start().await;
    world.settled(A).await.stop().await;
    for folder in ["live", "archive", "renewal"] {
        std::fs::remove_dir_all(world.store().join(folder)).unwrap();
    }
    std::fs::remove_dir_all(world.own("certificates")).unwrap();
    let id = world.rancher.certificate(A).unwrap().id;
    world.rancher.remove_certificate(&id);
    let ledger = world.own("ledger.jsonl");
    let mut content = std::fs::read(&ledger).unwrap();
    content.splice(0..0, *b"{\"at\":\xff\n\0\0\0\n");
    content.extend(b"{\"at\":\"2026-");
    std::fs::write(&ledger, &content).unwrap();
    for _ in 0..2 {
        let mut daemon = world.daemon("a.example.com,b.example.com");
        daemon.passes(1).await;
        let text = daemon.text();
        assert!(text.contains("asked for less than a day ago"), "{text}");
        assert!(text.contains("broken line of the ledger"), "{text}");
        // For a minute nobody knows whether it was just tried.
        assert!(text.contains("every name counts as just tried"), "{text}");
        assert_eq!(world.issued("b.example.com").len(), 0, "{text}");
        assert_eq!(world.issued(A).len(), 1, "{text}");
        daemon.kill().await;
    }
    let after = std::fs::read(&ledger).unwrap();
    assert!(after.starts_with(&content));
    let lines = after.split_inclusive(|byte| *byte == b'\n');
    let readable = lines.filter(|line| serde_json::from_slice::<serde_json::Value>(line).is_ok());
    std::fs::write(&ledger, readable.collect::<Vec<_>>().concat()).unwrap();
    let mut daemon = world.daemon("a.example.com,b.example.com");
    world.pushed("b.example.com").await;
    daemon.passes(1).await;
    assert_eq!(world.issued(A).len(), 1, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_live_view_is_repaired_at_start() {
    let world = World::start().await;
    world.settled(A).await.stop().await;
    let live = |file: &str| world.live(A, file);
    std::fs::remove_file(live("cert.pem")).unwrap();
    std::fs::remove_file(live("chain.pem")).unwrap();
    std::os::unix::fs::symlink("/nowhere", live("chain.pem")).unwrap();
    std::fs::remove_file(live("privkey.pem")).unwrap();
    std::fs::write(live("privkey.pem"), "somebody's").unwrap();
    let mut daemon = world.daemon(A);
    daemon.settles().await;
    for file in ["cert", "chain", "fullchain", "privkey"] {
        let link = std::fs::read_link(live(&format!("{file}.pem"))).unwrap();
        let target = format!("../../archive/{A}/{file}1.pem");
        assert_eq!(link.to_str(), Some(target.as_str()));
    }
    let aside = std::fs::read_to_string(live("privkey.pem.broken")).unwrap();
    assert_eq!(aside, "somebody's");
    assert_eq!(world.issued(A).len(), 1);
}
