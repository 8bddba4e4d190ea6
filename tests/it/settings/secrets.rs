//! No secret is ever logged.

use super::*;

/// Everything that must not be seen: keys of the API, private keys line by line and as bytes, tokens of services.
#[derive(Default)]
struct Secrets(BTreeSet<String>);

impl Secrets {
    fn add(&mut self, secret: &str) {
        assert!(secret.len() >= 8, "too short to be looked for: {secret}");
        self.0.insert(secret.to_owned());
    }

    fn add_api_key(&mut self, access: &str, secret: &str) {
        self.add(secret);
        self.add(access);
        self.add(&base64(format!("{access}:{secret}").as_bytes())[..24]);
    }

    /// Adds every private key in a text, also where line breaks are escaped.
    fn add_keys(&mut self, text: &str) {
        let text = text.replace("\\n", "\n");
        for block in pem::parse_many(&text).unwrap_or_default() {
            if !block.tag().ends_with("PRIVATE KEY") {
                continue;
            }
            for line in pem::encode(&block).lines().filter(|line| !line.starts_with('-')) {
                self.add(line);
            }
            // The tail of PKCS#8 is the public key; the scalar of P-256 follows its length.
            let der = block.contents();
            let at = der.windows(2).position(|pair| pair == [0x04, 0x20]).unwrap() + 2;
            let scalar = &der[at..at + 32];
            self.add(&format!("{:?}", &scalar[..8]).replace(['[', ']'], ""));
            self.add(&scalar.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
            let text = base64(scalar);
            self.add(&text[..40]);
            self.add(&text[..40].replace('+', "-").replace('/', "_"));
        }
    }

    fn add_files(&mut self, folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => self.add_files(&path),
                false => self.add_keys(&String::from_utf8_lossy(&std::fs::read(&path).unwrap())),
            }
        }
    }

    /// Looks through a log, with and without the escapes of JSON.
    fn check(&self, log: &str) {
        let plain = log.replace("\\n", "\n").replace("\\\"", "\"");
        for secret in &self.0 {
            let found = log.lines().chain(plain.lines()).find(|line| line.contains(secret));
            assert!(found.is_none(), "{secret} stands in {found:?}");
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    let block = pem::encode(&pem::Pem::new("X", bytes));
    block.lines().filter(|line| !line.starts_with('-')).collect()
}

/// The tokens that metadata tells of services.
async fn tokens(world: &World) -> Vec<String> {
    let mut tokens = Vec::new();
    for path in ["services", "self/service"] {
        let url = format!("{}/2015-12-19/{path}", world.rancher.metadata_url());
        let request = http_client().request(Method::GET, url);
        let response = request.header("Accept", "application/json").send().await.unwrap();
        let told: Value = response.json().await.unwrap();
        let services = told.as_array().cloned().unwrap_or_else(|| vec![told]);
        tokens.extend(
            services.iter().filter_map(|service| service["token"].as_str().map(str::to_owned)),
        );
    }
    tokens
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_ever_logged() {
    let world = World::start().await;
    let mut secrets = Secrets::default();
    let mut logs = Vec::new();
    let (access, secret) = world.rancher.key(sandbox::rancher::settings::Role::Environment);
    secrets.add_api_key(&access, &secret);
    secrets.add_api_key("WRONGACCESS", "wrong-secret-key");
    // A service without containers shows its token to everybody.
    let mut service =
        ServiceSpec::new("web", "site").label(LABEL, "label.example.com *.bad.example.com");
    service.scale = 0;
    world.rancher.add_service(service);
    let found = tokens(&world).await;
    assert_eq!(found.len(), 2);
    found.iter().for_each(|token| secrets.add(token));
    let old = self_signed(&["put.example.com"]);
    add(&world.rancher, "put.example.com", &old);
    secrets.add_keys(&old.key_pem);
    let settings = world
        .settings()
        .with("LOG", "trace")
        .with("DOMAINS", "put.example.com, new.example.com, failing.example.com")
        .with("NOTIFY_URL", "https://hooks.test/very-secret-hook")
        .with("HEARTBEAT_URL", "https://hooks.test/very-secret-hook");
    secrets.add("very-secret-hook");

    // The wrong key.
    let mut daemon = settings
        .clone()
        .with("CATTLE_ACCESS_KEY", "WRONGACCESS")
        .with("CATTLE_SECRET_KEY", "wrong-secret-key")
        .start();
    daemon.says("Rancher cannot be read").await;
    daemon.passes(1).await;
    logs.push(daemon.kill().await);

    // Everything that can go wrong with a request that carries a key.
    let faults = world.rancher.faults();
    let html = "<html><body>maintenance</body></html>";
    for endpoint in
        ["list-certificates", "get-certificate", "create-certificate", "put-certificate", "wake"]
    {
        faults.add(endpoint, 1, status(500));
        faults.add(endpoint, 1, What::Truncate);
        faults.add(endpoint, 1, answer(200, html));
        faults.add(
            endpoint,
            1,
            answer(422, r#"{"code":"InvalidFormat","fieldName":"key","message":"bad key"}"#),
        );
        faults.add(endpoint, 1, What::DoThenClose);
    }
    let metadata = world.rancher.metadata_faults();
    metadata.add("services", 1, What::Truncate);
    metadata.add("services", 1, answer(200, html));
    world.production.set(|settings| {
        settings.unresolved.insert("failing.example.com".to_owned());
        settings.bad_nonce_every = Some(7);
    });
    for endpoint in ["new-account", "new-order", "finalize", "certificate"] {
        world.production.faults().add(endpoint, 1, What::DoThenClose);
    }
    let mut daemon = settings.clone().start();
    for name in ["put.example.com", "new.example.com", "label.example.com"] {
        world.pushed(name).await;
    }
    let is_woken = world.rancher.until(|model| !model.wakes().is_empty());
    guarded("the wake-up", is_woken).await;
    daemon.passes(1).await;
    logs.push(daemon.kill().await);
    secrets.add_files(&world.store());

    // A lost store: certificate and key come back from Rancher.
    std::fs::remove_dir_all(world.store()).unwrap();
    std::fs::create_dir(world.store()).unwrap();
    let mut daemon: Daemon = settings.start();
    daemon.mentions("certificate restored from Rancher").await;
    daemon.passes(1).await;
    let (_, log) = daemon.stop().await;
    logs.push(log);
    secrets.add_files(&world.store());
    for held in world.rancher.certificates() {
        secrets.add_keys(&held.key);
    }

    let log = logs.join("\n");
    assert!(log.contains(r#""level":"TRACE""#), "the log shows everything there is");
    assert!(faults.count("reveal-certificate") > 0);
    assert!(secrets.0.len() > 40, "{}", secrets.0.len());
    secrets.check(&log);
}
