//! What a directory does otherwise than Boulder, asked through the port.

use rancher_lets_encrypt::core::bundle::Secret;
use rancher_lets_encrypt::core::names::DomainName;
use rancher_lets_encrypt::core::names::Names;
use rancher_lets_encrypt::core::problem::AuthorityError;
use rancher_lets_encrypt::core::resource::Account;
use rancher_lets_encrypt::core::resource::Authorization;
use rancher_lets_encrypt::core::resource::AuthorizationStatus;
use rancher_lets_encrypt::core::resource::Order;
use rancher_lets_encrypt::core::resource::OrderStatus;
use rancher_lets_encrypt::ports::Authority;
use rcgen::CertificateParams;
use rcgen::DistinguishedName;
use rcgen::KeyPair;
use simulation::authority::PRODUCTION;
use simulation::authority::oddities::Failing;
use simulation::authority::oddities::Oddities;
use simulation::dice::Dice;
use simulation::issuer::key_pem;
use simulation::life::Life;
use simulation::outside::Outside;
use simulation::process::on_virtual_clock;
use simulation::trouble::Events;
use simulation::trouble::Port;
use time::Duration;

const ALWAYS: u64 = 1000;

/// A client, at an authority that has just begun.
struct Client {
    life: Life,
    account: Account,
}

fn name(text: &str) -> DomainName {
    text.parse().expect("a plain name")
}

impl Client {
    async fn start() -> Self {
        let life = Life::new(Outside::new(Dice::new(7), 1), 0);
        let mut client = Self {
            life,
            account: Account {
                directory: PRODUCTION.to_owned(),
                url: String::new(),
                key: key_pem(&[7; 32]),
            },
        };
        client.register().await.expect("it is not limited");
        client
    }

    async fn register(&mut self) -> Result<(), AuthorityError> {
        let key = Secret::new(self.account.key.reveal().to_owned());
        let registered = self.life.register(PRODUCTION, &key, None).await;
        self.account.url = registered?;
        Ok(())
    }

    fn set(&self, change: impl FnOnce(&mut Oddities)) {
        let mut state = self.life.outside.state();
        change(&mut state.authority.all_mut()[0].oddities);
    }

    async fn open(&self, text: &str) -> Result<Order, AuthorityError> {
        let names = Names::new(vec![name(text)]).expect("one is enough");
        self.life.open(&self.account, &names).await
    }

    async fn look(&self, order: &Order) -> Result<Order, AuthorityError> {
        self.life.look(&self.account, &order.url).await
    }

    async fn status(&self, order: &Order) -> OrderStatus {
        self.look(order).await.expect("it is there").status
    }

    async fn authorization(&self, order: &Order) -> Authorization {
        let url = &order.authorizations[0];
        let shown = self.life.look_at(&self.account, &order.url, url).await;
        shown.expect("it is there")
    }

    async fn respond(&self, order: &Order) {
        let url = &order.authorizations[0];
        let responded = self.life.respond(&self.account, &order.url, url).await;
        responded.expect("it hears");
    }

    async fn publish(&self, order: &Order) {
        let challenge = self.authorization(order).await.challenge;
        let challenge = challenge.expect("it has HTTP-01");
        let mut state = self.life.outside.state();
        let webroot = &mut state.places[0].webroot;
        webroot.insert(challenge.token, challenge.key_authorization);
    }

    async fn ready(&self, text: &str) -> Order {
        let order = self.open(text).await.expect("it is not limited");
        if order.status != OrderStatus::Ready {
            self.publish(&order).await;
            self.respond(&order).await;
            wait(Duration::MINUTE).await;
        }
        assert_eq!(self.status(&order).await, OrderStatus::Ready);
        order
    }

    async fn finalize(&self, order: &Order, text: &str) -> Result<Order, AuthorityError> {
        let key = KeyPair::from_pem(key_pem(&[8; 32]).reveal()).expect("a key");
        let mut params = CertificateParams::new([text.to_owned()]).expect("a plain name");
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key).expect("plain parameters");
        let request = request.der();
        self.life.finalize(&self.account, &order.url, request).await
    }

    async fn download(&self, order: &Order) -> Result<String, AuthorityError> {
        self.life.download(&self.account, &order.url, "certificate").await
    }

    fn issued(&self) -> u64 {
        self.life.outside.state().promises.issued
    }
}

async fn wait(time: Duration) {
    tokio::time::sleep(time.unsigned_abs()).await;
}

const NAME: &str = "www.example.com";

#[test]
fn orders_stick_in_processing_for_days() {
    on_virtual_clock(async {
        let client = Client::start().await;
        client.set(|odd| {
            odd.sticks = ALWAYS;
            odd.sticks_for = Duration::days(9);
        });
        let order = client.ready(NAME).await;
        let shown = client.finalize(&order, NAME).await.expect("it is ready");
        assert_eq!(shown.status, OrderStatus::Processing);
        wait(Duration::hours(1)).await;
        assert_eq!(client.status(&order).await, OrderStatus::Processing);
        wait(Duration::days(9)).await;
        assert_eq!(client.status(&order).await, OrderStatus::Valid);
        client.download(&order).await.expect("it is valid");
        assert_eq!(client.issued(), 1);
    });
}

#[test]
fn orders_stick_for_ever_or_in_vain_without_a_certificate() {
    on_virtual_clock(async {
        let client = Client::start().await;
        client.set(|odd| {
            odd.sticks = ALWAYS;
            odd.sticks_for_ever = ALWAYS;
        });
        let order = client.ready(NAME).await;
        client.finalize(&order, NAME).await.expect("it is ready");
        wait(Duration::days(6)).await;
        assert_eq!(client.status(&order).await, OrderStatus::Processing);
        client.set(|odd| {
            odd.sticks_for = Duration::days(3);
            odd.sticks_for_ever = 0;
            odd.sticks_in_vain = ALWAYS;
        });
        let order = client.ready("shop.example.com").await;
        let shown = client.finalize(&order, "shop.example.com").await;
        assert_eq!(shown.expect("ready").status, OrderStatus::Processing);
        wait(Duration::days(3)).await;
        let shown = client.look(&order).await.expect("it is there");
        assert_eq!(shown.status, OrderStatus::Invalid);
        assert!(shown.error.is_some());
        assert_eq!(client.issued(), 0);
    });
}

#[test]
fn finalizes_are_refused_or_fail_before_or_after_issuing() {
    on_virtual_clock(async {
        let client = Client::start().await;
        let order = client.ready(NAME).await;
        client.set(|odd| odd.refuses = ALWAYS);
        client.finalize(&order, NAME).await.expect_err("refused");
        assert_eq!(client.status(&order).await, OrderStatus::Ready);
        client.set(|odd| {
            odd.refuses = 0;
            odd.fails = ALWAYS;
        });
        client.finalize(&order, NAME).await.expect_err("500");
        let shown = client.look(&order).await.expect("it is there");
        assert_eq!(shown.status, OrderStatus::Invalid);
        assert!(shown.error.is_some());
        assert_eq!(client.issued(), 0);

        let order = client.ready(NAME).await;
        client.set(|odd| {
            odd.fails = 0;
            odd.fails_after = ALWAYS;
        });
        client.finalize(&order, NAME).await.expect_err("500");
        wait(Duration::MINUTE).await;
        assert_eq!(client.status(&order).await, OrderStatus::Valid);
        assert_eq!(client.issued(), 1);
    });
}

#[test]
fn order_is_forgotten_when_no_answer_gets_through() {
    on_virtual_clock(async {
        let client = Client::start().await;
        client.set(|odd| odd.forgets = true);
        let order = client.ready(NAME).await;
        let events = |events| {
            let mut state = client.life.outside.state();
            state.trouble.set(Port::Authority, events);
        };
        let mut lost = 0;
        while lost < 2 {
            events(Events::Flaky(999));
            let answer = client.finalize(&order, NAME).await;
            answer.expect_err("times are bad");
            lost = client.issued();
            events(Events::Fair);
            assert_eq!(client.status(&order).await, OrderStatus::Ready);
            client.download(&order).await.expect_err("there is none");
        }
        client.finalize(&order, NAME).await.expect("it gets through");
        wait(Duration::MINUTE).await;
        assert_eq!(client.status(&order).await, OrderStatus::Valid);
        assert_eq!(client.issued(), 3);
    });
}

#[test]
fn certificates_are_lost_for_hours() {
    on_virtual_clock(async {
        let client = Client::start().await;
        client.set(|odd| {
            odd.loses = ALWAYS;
            odd.loses_for = Duration::hours(9);
        });
        let order = client.ready(NAME).await;
        client.finalize(&order, NAME).await.expect("it is ready");
        wait(Duration::MINUTE).await;
        let is_lost = async || {
            let chain = client.download(&order).await;
            !chain.is_ok_and(|chain| chain.starts_with("-----BEGIN"))
        };
        for _ in 0..9 {
            assert!(is_lost().await);
        }
        assert_eq!(client.status(&order).await, OrderStatus::Valid);
        wait(Duration::hours(9)).await;
        assert!(!is_lost().await);
    });
}

#[test]
fn failed_challenges_stay_pending_until_they_are_told_again() {
    on_virtual_clock(async {
        let client = Client::start().await;
        client.set(|odd| odd.failing = Failing::StaysPending);
        let order = client.open(NAME).await.expect("it is not limited");
        for _ in 0..2 {
            client.respond(&order).await;
            wait(Duration::MINUTE).await;
            let shown = client.authorization(&order).await;
            assert_eq!(shown.status, AuthorizationStatus::Pending);
            assert!(shown.error.is_some());
            assert_eq!(client.status(&order).await, OrderStatus::Pending);
        }
        assert_eq!(client.life.outside.state().promises.failed, 2);
        client.publish(&order).await;
        client.respond(&order).await;
        wait(Duration::MINUTE).await;
        let shown = client.authorization(&order).await;
        assert_eq!(shown.status, AuthorizationStatus::Valid);
        assert!(shown.error.is_none());
    });
}

#[test]
fn failed_challenges_are_tried_again_by_the_authority() {
    on_virtual_clock(async {
        let client = Client::start().await;
        client.set(|odd| odd.failing = Failing::TriedAgain);
        let order = client.open(NAME).await.expect("it is not limited");
        client.respond(&order).await;
        client.respond(&order).await;
        let shown = client.authorization(&order).await;
        assert_eq!(shown.status, AuthorizationStatus::Pending);
        assert!(shown.error.is_some());
        client.publish(&order).await;
        wait(Duration::seconds(12)).await;
        client.authorization(&order).await;
        wait(Duration::seconds(12)).await;
        assert_eq!(client.status(&order).await, OrderStatus::Ready);
        assert_eq!(client.life.outside.state().promises.failed, 1);

        let order = client.open("shop.example.com").await.expect("no limit");
        client.respond(&order).await;
        wait(Duration::minutes(3)).await;
        let shown = client.authorization(&order).await;
        assert_eq!(shown.status, AuthorizationStatus::Invalid);
    });
}

#[test]
fn silence_is_for_one_name_only() {
    on_virtual_clock(async {
        let client = Client::start().await;
        let order = client.ready(NAME).await;
        client.set(|odd| {
            odd.silent.insert(NAME.to_owned());
        });
        client.open(NAME).await.expect_err("no answer");
        client.look(&order).await.expect_err("no answer");
        client.finalize(&order, NAME).await.expect_err("no answer");
        client.ready("shop.example.com").await;
        client.set(|odd| odd.silent.clear());
        assert_eq!(client.status(&order).await, OrderStatus::Ready);
        assert_eq!(client.issued(), 0);
    });
}

#[test]
fn authority_is_gone_and_comes_back_without_its_state() {
    on_virtual_clock(async {
        let mut client = Client::start().await;
        let order = client.ready(NAME).await;
        client.set(|odd| odd.is_gone = true);
        client.look(&order).await.expect_err("nobody is there");
        client.register().await.expect_err("nobody is there");
        wait(Duration::weeks(3)).await;
        client.set(|odd| odd.is_gone = false);
        let before = client.account.url.clone();
        {
            let mut state = client.life.outside.state();
            state.authority.all_mut()[0].lose_state();
        }
        let error = client.look(&order).await.expect_err("unknown");
        assert!(error.to_string().contains("account"), "{error}");
        client.register().await.expect("it is back");
        assert_ne!(client.account.url, before);
        client.look(&order).await.expect_err("unknown");
        client.ready(NAME).await;
    });
}
