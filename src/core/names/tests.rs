use proptest::prelude::any;
use proptest::prop_oneof;
use proptest::proptest;

use super::*;

#[test]
fn bad_names_are_refused_by_their_rule() {
    let long_label = format!("{}.example.com", "a".repeat(64));
    let long = format!("{}com", "abcdefghi.".repeat(30));
    let many = "a.b.c.d.e.f.g.h.i.j.com";
    let long_but_few = format!("{0}.{0}.{0}.{0}.example", "a".repeat(62));
    for (text, rule) in [
        ("*.example.com", Rule::Wildcard),
        ("my_host.example.com", Rule::Underscore),
        ("../etc", Rule::EmptyLabel),
        ("a/../b.example.com", Rule::EmptyLabel),
        ("a/b.example.com", Rule::Characters),
        ("a..example.com", Rule::EmptyLabel),
        (".example.com", Rule::EmptyLabel),
        (".", Rule::EmptyLabel),
        (&long_label, Rule::LongLabel),
        (&long_but_few, Rule::Long),
        (&"x".repeat(300), Rule::LongLabel),
        (&"x".repeat(5000), Rule::Long),
        (&long, Rule::Long),
        (many, Rule::ManyLabels),
        ("co.uk", Rule::PublicSuffix),
        ("com.au", Rule::PublicSuffix),
        ("localhost", Rule::SingleLabel),
        ("192.0.2.1", Rule::IpAddress),
        ("192.0.2.1.", Rule::IpAddress),
        ("\u{ff11}92.0.2.1", Rule::IpAddress),
        ("192\u{3002}0\u{3002}2\u{3002}1", Rule::IpAddress),
        ("192.0.2", Rule::Number),
        ("a.example.123", Rule::Number),
        ("2001:db8::1", Rule::IpAddress),
        ("[2001:db8::1]", Rule::IpAddress),
        ("-a.example.com", Rule::Hyphen),
        ("a-.example.com", Rule::Hyphen),
        ("ab--c.example.com", Rule::Idna),
        ("xn--\u{7f}.example.com", Rule::Idna),
        ("http://a.example.com", Rule::Characters),
        ("a.example.com:80", Rule::Characters),
    ] {
        assert_eq!(text.parse::<DomainName>().unwrap_err().rule, rule, "{text}");
    }
}

#[test]
fn names_are_lower_case_a_labels() {
    for (text, name) in [
        ("WWW.Example.COM", "www.example.com"),
        ("bücher.example.com", "xn--bcher-kva.example.com"),
        ("XN--BCHER-KVA.example.com", "xn--bcher-kva.example.com"),
        ("a.example.com.", "a.example.com"),
        ("a.internal.test", "a.internal.test"),
        ("1.2.3.example.org", "1.2.3.example.org"),
        ("github.io", "github.io"),
    ] {
        assert_eq!(text.parse::<DomainName>().unwrap().as_str(), name);
    }
}

#[test]
fn commas_part_certificates_and_white_space_joins_names() {
    let (entries, bad) =
        parse_list(" a.example.com,\tb.example.com  www.b.example.com ,, _x.y *.z.w a.b.example ");
    let texts: Vec<String> = entries.iter().map(Names::to_string).collect();
    assert_eq!(texts, ["a.example.com", "b.example.com www.b.example.com", "a.b.example"]);
    assert_eq!(bad.len(), 2);
}

#[test]
fn a_record_is_read_by_syntax_alone() {
    // What became a public suffix after it was written down is a host name all the same.
    for good in ["co.uk", "a.example.com"] {
        let name: DomainName = serde_json::from_value(good.into()).unwrap();
        assert_eq!(name.as_str(), good);
    }
    for bad in
        ["", "A.example.com", "../etc", "a_b.example.com", "a.example.com.", "\u{e4}.example.com"]
    {
        assert!(serde_json::from_value::<DomainName>(bad.into()).is_err(), "{bad}");
    }
}

#[test]
fn a_message_names_the_text_and_shortens_it() {
    let error = "a\nb".repeat(100).parse::<DomainName>().unwrap_err().to_string();
    assert!(error.starts_with("`a\\nb") && error.contains('…') && !error.contains('\n'), "{error}");
}

proptest! {
    #[test]
    fn every_text_is_either_refused_or_safe(text in any::<String>()) {
        if let Ok(name) = text.parse::<DomainName>() {
            let safe = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
            assert!(name.as_str().bytes().all(safe));
            assert!(!name.as_str().contains("..") && name.as_str().len() <= 253);
        }
        parse_list(&text);
    }

    #[test]
    fn a_name_is_read_again_from_its_own_text(
        text in prop_oneof![
            any::<String>(),
            "[0-9.]{1,20}",
            "[0-9]{1,2}(\\.[0-9\u{ff10}-\u{ff19}]{1,2}){3}\\.?",
            "[0-9\u{ff10}-\u{ff19}.\u{3002}]{1,20}",
            "[a-z0-9A-Z\u{e4}\u{df}_*.-]{1,30}",
            "([Xx][Nn]--)?[a-z0-9-]{1,12}\\.[a-z0-9-]{1,6}\\.?",
        ],
    ) {
        if let Ok(name) = text.parse::<DomainName>() {
            assert_eq!(name.as_str().parse::<DomainName>().as_ref(), Ok(&name));
            assert!(name.as_str().parse::<IpAddr>().is_err(), "{name}");
            let record = serde_json::to_string(&name).unwrap();
            assert_eq!(serde_json::from_str::<DomainName>(&record).unwrap(), name);
        }
    }
}
