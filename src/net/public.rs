//! Which addresses are anybody's to reach, and which lead into a network of somebody's own. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Networks of IPv4 that are not of the Internet (RFC 6890, and what IANA's registry of special purposes has besides), 224.0.0.0
/// and all above it apart.
const SPECIAL_V4: [([u8; 4], u8); 15] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 31, 196, 0], 24),
    ([192, 52, 193, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
];

/// Those of IPv6 within 2000::/3, outside of which nothing is (RFC 4291 §2.4): protocol assignments with Teredo, documentation,
/// 6to4, which lead to addresses of IPv4.
const SPECIAL_V6: [([u16; 2], u8); 4] = [([0x2001, 0], 23), ([0x2001, 0xdb8], 32), ([0x2002, 0], 16), ([0x3fff, 0], 20)];

/// Is it one of the Internet?
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let is_in = |(network, bits): &([u8; 4], u8)| {
                let own = v4.to_bits() ^ Ipv4Addr::from(*network).to_bits();
                own.leading_zeros() >= u32::from(*bits)
            };
            v4.to_bits() < 0xe000_0000 && !SPECIAL_V4.iter().any(is_in)
        }
        IpAddr::V6(v6) => {
            let is_in = |([first, second], bits): &([u16; 2], u8)| {
                let own = v6.to_bits() ^ Ipv6Addr::new(*first, *second, 0, 0, 0, 0, 0, 0).to_bits();
                own.leading_zeros() >= u32::from(*bits)
            };
            v6.to_bits() >> 125 == 1 && !SPECIAL_V6.iter().any(is_in)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_internet() {
        for public in
            ["8.8.8.8", "9.255.255.255", "11.0.0.1", "100.63.0.1", "100.128.0.1", "172.15.0.1", "172.32.0.1", "198.17.0.1"]
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for public in ["2a01:4f8::1", "2001:4860::8888", "2001:200::1", "::ffff:8.8.8.8", "2620:fe::fe"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for not in [
            "0.0.0.0",
            "0.1.2.3",
            "10.9.8.7",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.19.255.255",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(not.parse().unwrap()), "{not}");
        }
    }
}
