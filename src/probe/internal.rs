//! Addresses of the networks that a CA cannot reach, and that hold what is for few.

use std::fmt;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

/// Networks of IPv4 that are not public, by first address and length of the prefix (IANA's registry of special
/// addresses, RFC 6890).
const V4: [(Ipv4Addr, u32); 13] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    // Shared by carriers (RFC 6598); Alibaba's metadata is at 100.100.100.200.
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    // Metadata of most clouds is at 169.254.169.254, and Rancher's at 169.254.169.250.
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    // Azure's platform, at an address that looks public.
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    // Oracle's metadata is at 192.0.0.192.
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
    (Ipv4Addr::BROADCAST, 32),
];

/// The same of IPv6: loopback and unspecified, local NAT64, unique local, link-local, site-local, multicast.
const V6: [(Ipv6Addr, u32); 7] = [
    (Ipv6Addr::UNSPECIFIED, 128),
    (Ipv6Addr::LOCALHOST, 128),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
];

/// Whether an address is one of a loopback, link-local, private, shared, multicast or otherwise special network.
pub(super) fn is_internal(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_internal_v4(address),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            let is_in = |&(first, length): &(Ipv6Addr, u32)| {
                (bits ^ first.to_bits()) >> (128 - length) == 0
            };
            V6.iter().any(is_in) || within(address).is_some_and(is_internal_v4)
        }
    }
}

fn is_internal_v4(address: Ipv4Addr) -> bool {
    let is_in = |&(first, length): &(Ipv4Addr, u32)| {
        (address.to_bits() ^ first.to_bits()) >> (32 - length) == 0
    };
    V4.iter().any(is_in)
}

/// The IPv4 address that one of IPv6 leads to: mapped, compatible (RFC 4291), NAT64 (RFC 6052), 6to4 (RFC 3056).
fn within(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, high, low] = address.segments();
    let (high, low) = match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0 | 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => (high, low),
        [0x2002, high, low, ..] => (high, low),
        _ => return None,
    };
    Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}

/// A name leads to internal addresses only, after one that is public has redirected to it.
#[derive(Debug)]
pub(super) struct LeadsInside;

impl fmt::Display for LeadsInside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it leads to an internal address")
    }
}

impl std::error::Error for LeadsInside {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_each_internal_network_are_internal_and_their_neighbours_are_not() {
        let internal = "0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.1 \
            127.255.255.255 168.63.129.16 169.254.0.0 169.254.169.254 169.254.255.255 172.16.0.0 172.31.255.255 \
            192.0.0.192 192.168.0.0 192.168.255.255 198.18.0.0 198.19.255.255 224.0.0.1 239.255.255.255 240.0.0.0 \
            255.255.255.255 :: ::1 ::ffff:10.0.0.1 ::ffff:127.0.0.1 ::127.0.0.1 64:ff9b::10.0.0.1 64:ff9b:1::1 \
            2002:a00:1:: 2002:7f00:1::1 fc00:: fd00:ec2::254 fdff:ffff::1 fe80::1 febf::1 fec0::1 feff::1 ff02::1";
        let public = "1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 \
            168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 \
            192.0.1.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255 ::ffff:8.8.8.8 \
            64:ff9b::8.8.8.8 64:ff9b:2::1 2002:808:808:: 2001:4860:4860::8888 fbff::1 fe00::1 fe7f::1";
        for (addresses, expected) in [(internal, true), (public, false)] {
            for address in addresses.split_whitespace() {
                assert_eq!(is_internal(address.parse().unwrap()), expected, "{address}");
            }
        }
    }
}
