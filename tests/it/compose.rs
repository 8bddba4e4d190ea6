//! The packaging files: what they promise, and that `rancher-compose` 0.12.5 would take all of it.
//!
//! That program refuses unknown keys in `docker-compose.yml` and silently drops them in
//! `rancher-compose.yml`, so both files may hold only keys that it was seen to take.

mod image;
mod options;
mod shell;

use std::net::SocketAddr;

use rancher_lets_encrypt::config::SETTINGS;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

const STACK: Pair = Pair {
    docker: include_str!("../../docker-compose.yml"),
    rancher: include_str!("../../rancher-compose.yml"),
};
const BALANCER: Pair = Pair {
    docker: include_str!("../../traffic-manager/docker-compose.yml"),
    rancher: include_str!("../../traffic-manager/rancher-compose.yml"),
};
const HTTPS_BALANCER: Pair = Pair {
    docker: include_str!("../../traffic-manager/https/docker-compose.yml"),
    rancher: include_str!("../../traffic-manager/https/rancher-compose.yml"),
};
const PAIRS: [Pair; 3] = [STACK, BALANCER, HTTPS_BALANCER];
/// What every variable begins with that the files take from whoever runs `rancher-compose`.
const PREFIX: &str = "RLE_";

const NGINX: &str = "letsencrypt-nginx";
const DAEMON: &str = "rancher-lets-encrypt";
const CHALLENGE_PATH: &str = "/.well-known/acme-challenge/";

/// Keys of a service in `docker-compose.yml`. `restart` has no effect: Rancher restarts anyway.
const DOCKER_KEYS: &str = "cap_add cap_drop environment image labels ports read_only restart \
    security_opt stop_signal tmpfs volumes";
const RANCHER_KEYS: &str = "health_check lb_config scale";
const HEALTH_CHECK_KEYS: &str = "healthy_threshold initializing_timeout interval port \
    reinitializing_timeout request_line response_timeout strategy unhealthy_threshold";
const BALANCER_KEYS: &str = "certs config default_cert port_rules";
const RULE_KEYS: &str = "hostname path priority protocol service source_port target_port";

/// The two files that `rancher-compose` reads together.
#[derive(Clone, Copy)]
struct Pair {
    docker: &'static str,
    rancher: &'static str,
}

impl Pair {
    #[track_caller]
    fn docker_services(self) -> Map<String, Value> {
        object(&parse(self.docker)["services"]).clone()
    }

    #[track_caller]
    fn rancher_services(self) -> Map<String, Value> {
        object(&parse(self.rancher)["services"]).clone()
    }

    /// The `lb_config` of a pair with one service, and the ports that the service publishes.
    #[track_caller]
    fn balancer(self) -> (Value, Value) {
        let (name, service) = self.docker_services().into_iter().next().unwrap();
        let config = &self.rancher_services()[&name]["lb_config"];
        (config.clone(), service["ports"].clone())
    }
}

#[test]
fn every_file_is_format_2_and_no_service_is_dropped() {
    for pair in PAIRS {
        for text in [pair.docker, pair.rancher] {
            let file = parse(text);
            assert_eq!(file["version"], json!("2"));
            assert_keys(&file, "services version volumes");
            assert!(!text.contains("{{"), "the server sees a template");
        }
        let services = pair.docker_services();
        for name in pair.rancher_services().keys() {
            assert!(services.contains_key(name), "{name} would be dropped");
        }
    }
}

#[test]
fn every_key_is_one_that_rancher_compose_takes() {
    for pair in PAIRS {
        for service in pair.docker_services().values() {
            assert_keys(service, DOCKER_KEYS);
        }
        for service in pair.rancher_services().values() {
            assert_keys(service, RANCHER_KEYS);
            assert_keys(&service["health_check"], HEALTH_CHECK_KEYS);
            assert_keys(&service["lb_config"], BALANCER_KEYS);
            for rule in list(&service["lb_config"]["port_rules"]) {
                assert_keys(rule, RULE_KEYS);
            }
        }
    }
}

#[test]
fn labels_and_variables_are_quoted_where_yaml_would_make_them_booleans() {
    for pair in PAIRS {
        for (name, service) in pair.docker_services() {
            for key in ["labels", "environment"] {
                for (entry, value) in service[key].as_object().into_iter().flatten() {
                    assert!(value.is_string(), "{name}: {key}: {entry} is {value}");
                }
            }
        }
    }
}

#[test]
fn variables_have_the_plain_form_only() {
    for pair in PAIRS {
        for text in [pair.docker, pair.rancher] {
            for string in strings(&parse(text)) {
                for tail in string.replace("$$", "").split('$').skip(1) {
                    let name = tail.strip_prefix('{').and_then(|rest| rest.split_once('}'));
                    let is_plain = name.is_some_and(|(name, _)| is_variable(name));
                    assert!(is_plain, "{string} is not of the form ${{NAME}}");
                }
            }
        }
    }
}

#[test]
fn environment_has_every_setting_that_an_operator_may_set() {
    // An injected one would be overridden by an empty string.
    let settable = SETTINGS.iter().filter(|setting| !setting.injected);
    let expected: Map<String, Value> = settable
        .map(|setting| (setting.name.to_owned(), json!(format!("${{{PREFIX}{}}}", setting.name))))
        .collect();
    let daemon = &STACK.docker_services()[DAEMON];
    assert_eq!(object(&daemon["environment"]), &expected);
    assert_eq!(daemon["image"], json!(format!("${{{PREFIX}IMAGE}}")));
}

#[test]
fn daemon_is_the_sidekick_of_nginx_and_gets_the_key() {
    let services = STACK.docker_services();
    assert_eq!(services.len(), 2);
    assert_eq!(services[NGINX]["image"], json!("nginx:alpine"));
    let labels = json!({
        "io.rancher.sidekicks": DAEMON,
        "com.danieldent.rancher-nginx-active-lb.acme-host": "true",
    });
    assert_eq!(services[NGINX]["labels"], labels);
    let labels = json!({
        "io.rancher.container.create_agent": "true",
        "io.rancher.container.agent.role": "environment",
    });
    assert_eq!(services[DAEMON]["labels"], labels);
}

#[test]
fn daemon_runs_with_few_rights() {
    let daemon = &STACK.docker_services()[DAEMON];
    assert_eq!(daemon["read_only"], json!(true));
    assert_eq!(daemon["cap_drop"], json!(["ALL"]));
    assert_eq!(daemon["cap_add"], json!(["DAC_OVERRIDE", "FOWNER"]));
    assert_eq!(daemon["security_opt"], json!(["no-new-privileges"]));
    assert_eq!(daemon["stop_signal"], json!("SIGTERM"));
}

#[test]
fn webroot_is_shared_and_the_store_has_a_volume() {
    let services = STACK.docker_services();
    let webroot = volume_at(&services[NGINX], "/usr/share/nginx/html:ro");
    assert_eq!(volume_at(&services[DAEMON], default("CERTBOT_WEBROOT")), webroot);
    let store = volume_at(&services[DAEMON], default("LETSENCRYPT_ROOTDIR"));
    assert_ne!(store, webroot);

    // Undeclared, they would be volumes that Rancher does not know and does not follow.
    let local = json!({ "driver": "local" });
    let declared = Map::from_iter([(webroot, local.clone()), (store, local)]);
    assert_eq!(object(&parse(STACK.docker)["volumes"]), &declared);
}

#[test]
fn stack_runs_once_and_its_health_is_only_shown() {
    let services = STACK.rancher_services();
    assert_eq!(services[NGINX]["scale"], json!(1));
    assert_eq!(services[DAEMON]["scale"], json!(1));
    let health_check = &services[DAEMON]["health_check"];
    assert_eq!(health_check["port"], json!(listen_port()));
    assert_eq!(health_check["request_line"], json!("GET /healthz HTTP/1.0"));
    assert_eq!(health_check["strategy"], json!("none"));
    // Rancher before 1.6.15 replaces a container that is longer not well than these, whatever the strategy.
    for timeout in ["initializing_timeout", "reinitializing_timeout"] {
        assert_eq!(health_check[timeout], json!(i32::MAX), "{timeout}");
    }
}

#[test]
fn challenge_rule_comes_before_every_other_rule() {
    let (config, ports) = BALANCER.balancer();
    let (challenges, others): (Vec<&Value>, Vec<&Value>) =
        list(&config["port_rules"]).iter().partition(|rule| rule["path"] == json!(CHALLENGE_PATH));
    // Without a host name: a new name needs no new rule.
    let challenge = json!({
        "source_port": 80,
        "protocol": "http",
        "path": CHALLENGE_PATH,
        "service": format!("${{{PREFIX}STACK}}/{NGINX}"),
        "target_port": 80,
        "priority": 1,
    });
    assert_eq!(challenges, [&challenge]);
    for other in others {
        // A rule without a priority comes after all that have one.
        let priority = other["priority"].as_u64();
        assert!(priority.is_none_or(|priority| priority > 1), "{other}");
    }
    assert_eq!(ports, json!(["80:80/tcp"]));
}

#[test]
fn balancer_redirects_all_but_challenges() {
    let (config, _) = BALANCER.balancer();
    let redirect = format!(
        "frontend 80\n  redirect scheme https code 301 if !{{ path_beg -i {CHALLENGE_PATH} }}"
    );
    assert_eq!(config["config"], json!(redirect));
}

#[test]
fn https_example_names_certificates_and_an_application() {
    let (config, ports) = HTTPS_BALANCER.balancer();
    assert_eq!(ports, json!(["443:443/tcp"]));
    let default = config["default_cert"].as_str().unwrap();
    let others = list(&config["certs"]);
    assert!(!others.is_empty());
    assert!(!others.contains(&json!(default)));
    for rule in list(&config["port_rules"]) {
        assert_eq!(rule["source_port"], json!(443));
        assert_eq!(rule["protocol"], json!("https"));
        assert!(rule["service"].as_str().unwrap().contains('/'), "{rule}");
    }
}

#[test]
fn balancers_are_pinned_and_run_on_every_host() {
    for pair in [BALANCER, HTTPS_BALANCER] {
        for (name, service) in pair.docker_services() {
            assert_eq!(service["image"], json!("rancher/lb-service-haproxy:v0.9.14"));
            assert_eq!(service["labels"], json!({ "io.rancher.scheduler.global": "true" }));
            let health_check = &pair.rancher_services()[&name]["health_check"];
            assert_eq!(health_check["port"], json!(42));
        }
    }
}

/// The default of a setting, as the table of settings shows it.
#[track_caller]
fn default(name: &str) -> &'static str {
    let setting = SETTINGS.iter().find(|setting| setting.name == name);
    setting.expect("a setting of this name").default.trim_matches('`')
}

fn listen_port() -> u16 {
    let address: SocketAddr = default("LISTEN").parse().unwrap();
    address.port()
}

/// Reads YAML as Rancher's reader does: `yes` is a boolean, and no key stands twice.
#[track_caller]
fn parse(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[track_caller]
fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("{value} is no mapping"))
}

/// The items of a list that may be absent.
fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Checks the keys of a mapping that may be absent.
#[track_caller]
fn assert_keys(value: &Value, allowed: &str) {
    for key in value.as_object().into_iter().flat_map(Map::keys) {
        assert!(allowed.split(' ').any(|known| known == key), "{key} is not known to be taken");
    }
}

/// Names the volume that a service mounts at a place.
#[track_caller]
fn volume_at(service: &Value, place: &str) -> String {
    list(&service["volumes"])
        .iter()
        .filter_map(|mount| mount.as_str()?.split_once(':'))
        .find_map(|(volume, at)| (at == place).then(|| volume.to_owned()))
        .unwrap_or_else(|| panic!("nothing is mounted at {place}"))
}

/// All strings of a file, keys among them: there a variable would not be replaced.
fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(string) => vec![string.clone()],
        Value::Array(items) => items.iter().flat_map(strings).collect(),
        Value::Object(entries) => entries
            .iter()
            .flat_map(|(key, value)| {
                assert!(!key.contains('$'), "{key} is a key with a variable");
                strings(value)
            })
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

fn is_variable(name: &str) -> bool {
    let is_part = |byte: u8| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_');
    name.starts_with(|first| matches!(first, 'A'..='Z' | '_')) && name.bytes().all(is_part)
}
