//! Who listens on a port, as `/proc/net/tcp` and `/proc/net/tcp6` tell.

use std::{
    io::{BufRead, BufReader},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use crate::process::files::Files;

/// The state of a socket that listens.
const LISTEN: &str = "0A";

/// A socket that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listening {
    pub(super) address: SocketAddr,
    pub(super) inode: u64,
}

/// All sockets that listen, in the network of this process.
pub(super) fn listening(files: &Files) -> Result<Vec<Listening>, String> {
    let mut all = Vec::new();
    // A system may have one of the two only.
    let files = ["tcp", "tcp6"].map(|name| files.open(format!("proc/net/{name}")));
    if let [Err(error), Err(_)] = &files {
        return Err(format!("/proc/net/tcp cannot be read: {error}"));
    }
    for file in files.into_iter().flatten() {
        // NB: those that listen stand first, so that the connections of a busy machine are not read.
        let lines = BufReader::new(file).lines().skip(1);
        all.extend(lines.map_while(|line| parse(&line.ok()?)));
    }
    Ok(all)
}

/// Of those, the ones that a connection to this address comes to.
pub(super) fn reached(all: &[Listening], address: SocketAddr) -> Vec<Listening> {
    let any: &[IpAddr] = match address.ip() {
        IpAddr::V4(_) => &[IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
        IpAddr::V6(_) => &[IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
    };
    // Whoever asked for the very address goes before who takes all.
    let at = |ip: &IpAddr| -> Vec<Listening> {
        let is_it = |socket: &&Listening| socket.address == SocketAddr::new(*ip, address.port());
        all.iter().filter(is_it).copied().collect()
    };
    let ways = [address.ip()].into_iter().chain(any.iter().copied());
    ways.map(|ip| at(&ip)).find(|found| !found.is_empty()).unwrap_or_default()
}

/// Whether an address is one of this machine: then it is also where connections to it come from.
/// Nothing is sent.
pub(super) fn is_local(ip: IpAddr) -> bool {
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((ip, 9))?;
        socket.local_addr()
    });
    ip.is_loopback() || source.is_ok_and(|source| source.ip() == ip)
}

/// What a connection to an address is a connection to: that to all of this machine is to itself.
pub(super) fn target(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip().to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// A line; `None` if it is no socket that listens.
fn parse(line: &str) -> Option<Listening> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, address, _, LISTEN, _, _, _, _, _, inode, ..] = fields[..] else { return None };
    let (ip, port) = address.split_once(':')?;
    // Words of 32 bits as they lie in memory.
    let word = |at: usize| u32::from_str_radix(ip.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(Listening { address: SocketAddr::new(ip, port), inode: inode.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn at(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    /// The real files, for the order of bytes is that of the machine.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_listener_of_this_process_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let all = listening(&Files::below("/")).unwrap();
        assert_eq!(reached(&all, address).len(), 1, "{all:?}");
        if let Ok(listener) = TcpListener::bind("[::1]:0") {
            let address = listener.local_addr().unwrap();
            let all = listening(&Files::below("/")).unwrap();
            assert_eq!(reached(&all, address).len(), 1, "{all:?}");
        }
    }

    #[test]
    fn lines_that_are_none() {
        let rest = "00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 77 1 0 100";
        let line = format!("   0: 00000000:1F90 {rest}");
        let expected = Listening { address: at("0.0.0.0:8080"), inode: 77 };
        assert_eq!(parse(&line), Some(expected));
        for (part, other) in
            [("0A", "01"), ("00000000:1F90", "000:1F90"), (":1F90", ":x"), ("77 1 0 100", "")]
        {
            assert_eq!(parse(&line.replacen(part, other, 1)), None, "{other}");
        }
        assert_eq!(parse(""), None);
    }

    #[test]
    fn the_very_address_goes_first() {
        let all: Vec<Listening> = ["0.0.0.0:80", "127.0.0.1:80", "[::]:80", "[::]:81", "[::1]:82"]
            .iter()
            .zip(1..)
            .map(|(address, inode)| Listening { address: at(address), inode })
            .collect();
        let reached = |address| -> Vec<u64> {
            reached(&all, at(address)).iter().map(|socket| socket.inode).collect()
        };
        assert_eq!(reached("127.0.0.1:80"), [2]);
        assert_eq!(reached("10.0.0.1:80"), [1]);
        assert_eq!(reached("[::1]:80"), [3]);
        assert_eq!(reached("127.0.0.1:81"), [4]);
        assert_eq!(reached("127.0.0.1:82"), [0; 0]);
        assert_eq!(reached("127.0.0.1:83"), [0; 0]);
    }

    #[test]
    fn addresses_of_this_machine() {
        assert!(is_local(at("127.0.0.1:1").ip()) && is_local(at("127.9.9.9:1").ip()));
        assert!(is_local(at("[::1]:1").ip()));
        // Reserved for documentation.
        assert!(!is_local(at("192.0.2.1:1").ip()) && !is_local(at("[2001:db8::1]:1").ip()));
        assert_eq!(target(at("0.0.0.0:7")), at("127.0.0.1:7"));
        assert_eq!(target(at("[::]:7")), at("[::1]:7"));
        assert_eq!(target(at("[::ffff:127.0.0.1]:7")), at("127.0.0.1:7"));
    }
}
