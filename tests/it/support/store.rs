//! The store of a world: where what lies, and daemons that leave it in a certain state.

use std::path::PathBuf;

use sandbox::faults::Gate;
use sandbox::faults::What;

use super::Daemon;
use super::World;
use super::guarded;

const A: &str = "a.example.com";
const OWN: &str = "rancher-lets-encrypt";

impl World {
    pub(crate) fn own(&self, path: &str) -> PathBuf {
        self.store().join(OWN).join(path)
    }

    pub(crate) fn order_file(&self) -> PathBuf {
        self.own("pending/a.example.com.json")
    }

    pub(crate) fn account_file(&self) -> PathBuf {
        let mut files = std::fs::read_dir(self.own("accounts")).unwrap();
        let file = files.next().unwrap().unwrap().path();
        assert!(files.next().is_none(), "there is one account");
        file
    }

    /// A daemon that has obtained and pushed a certificate, and rests.
    pub(crate) async fn settled(&self, domains: &str) -> Daemon {
        let mut daemon = self.daemon(domains);
        for name in domains.split(',') {
            self.pushed(name).await;
        }
        daemon.settles().await;
        daemon
    }

    /// A daemon killed while the authority holds its answer to one kind of request, for its first certificate.
    pub(crate) async fn killed_at(&self, endpoint: &'static str) {
        let gate = Gate::new();
        let faults = self.production.faults();
        faults.add(endpoint, 1, What::Hold(gate.clone()));
        let daemon = self.daemon(A);
        guarded("the request", gate.reached(1)).await;
        daemon.kill().await;
        faults.clear();
    }

    pub(crate) fn served(&self) -> String {
        self.rancher.certificate(A).unwrap().leaf().to_owned()
    }
}
