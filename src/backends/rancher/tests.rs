//! How rows of Rancher are read.

use super::*;

#[test]
fn ids_are_ordered_by_their_number() {
    assert_eq!(rank("1c95"), 95);
    assert!(rank("1c9") < rank("1c10"));
    assert_eq!(rank("odd"), u64::MAX);
    // Whatever a server says.
    assert_eq!(rank("1ç95"), 95);
    assert_eq!(rank("1c9€"), u64::MAX);
    assert_eq!(rank(""), u64::MAX);
}

#[test]
fn every_field_of_a_certificate_may_be_null() {
    let text = r#"{"id":"1c1","name":null,"description":null,"state":"active","transitioning":"no","removed":null,
        "cert":null,"certChain":null,"key":null,"CN":null,"keySize":null,"subjectAlternativeNames":null}"#;
    let held = serde_json::from_str::<Certificate>(text).unwrap().held();
    assert!(held.content.is_err() && held.name.is_empty() && !held.is_changing);
}

#[test]
fn a_name_stands_in_the_way_of_itself_in_any_case() {
    let text = r#"{"id":"1c1","name":"Shop.Example.com"}"#;
    let held = serde_json::from_str::<Certificate>(text).unwrap().held();
    assert_eq!(
        (held.name.as_str(), held.occupies.as_str()),
        ("Shop.Example.com", "shop.example.com")
    );
}

#[test]
fn balancers_of_both_ages_list_their_certificates() {
    let new = r#"{"id":"1s3","state":"active","lbConfig":{"defaultCertificateId":"1c3","certificateIds":["1c4"]}}"#;
    let old = r#"{"id":"1s3","state":"inactive","lbConfig":null,"defaultCertificateId":"1c3","certificateIds":null}"#;
    let read = |text| serde_json::from_str::<ServiceRow>(text).unwrap().service(BALANCERS);
    let ids = |service: Service| {
        let certificates = service.user.certificates.iter();
        certificates.map(|id| id.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(read(new)), ["1c3", "1c4"]);
    assert_eq!(ids(read(old)), ["1c3"]);
    assert!(read(new).is_active && !read(old).is_active);
    assert_eq!(read(new).user.id.as_str(), "loadBalancerServices/1s3");
    assert_eq!(read(new).user.folder, None);
    let folder =
        r#"{"id":"1s3","launchConfig":{"labels":{"io.rancher.lb_service.cert_dir":"/certs"}}}"#;
    assert_eq!(read(folder).user.folder.as_deref(), Some("/certs"));
    let none = r#"{"id":"1s3","launchConfig":{"labels":{"io.rancher.lb_service.cert_dir":7}}}"#;
    assert_eq!(read(none).user.folder, None);
}
