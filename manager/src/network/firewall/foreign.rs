//! The firewalls of others: which chains of the host refuse what is forwarded unless a rule of theirs lets it pass.
//!
//! nf_tables takes a packet only if every base chain of a hook does: a rule of ours cannot overrule such a chain.

use crate::network::netlink::attribute::find;
use crate::network::netlink::{Error, HEADER, Socket};

const NETLINK_NETFILTER: isize = 12;
/// NFT_MSG_GETCHAIN of nf_tables' subsystem.
const GET_CHAIN: u16 = 10 << 8 | 4;
/// NLM_F_REQUEST and NLM_F_DUMP.
const DUMP: u16 = 0x0301;
/// `struct nfgenmsg`: of every family.
const EVERY_FAMILY: [u8; 4] = [0; 4];

// NFTA_CHAIN_* and NFTA_HOOK_*
const TABLE: u16 = 1;
const NAME: u16 = 3;
const HOOK: u16 = 4;
const POLICY: u16 = 5;
const HOOK_NUMBER: u16 = 1;
/// NF_INET_FORWARD
const FORWARD: [u8; 4] = 2_u32.to_be_bytes();
/// NF_DROP
const DROP: [u8; 4] = 0_u32.to_be_bytes();

/// `table/chain` of each base chain of the forward hook whose policy is to drop.
///
/// # Errors
/// nf_tables is not there, or may not be asked.
pub fn dropping_chains() -> Result<Vec<String>, Error> {
    let mut socket = Socket::open(NETLINK_NETFILTER)?;
    let sequence = socket.next_sequence();
    let mut chains = Vec::new();
    socket.exchange(&request(sequence), sequence, |payload| chains.extend(dropping(payload)))?;
    Ok(chains)
}

fn request(sequence: u32) -> Vec<u8> {
    let length = u32::try_from(HEADER + EVERY_FAMILY.len()).unwrap_or_default();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(GET_CHAIN.to_ne_bytes());
    bytes.extend(DUMP.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(EVERY_FAMILY);
    bytes
}

/// The chain's name, if it drops what is forwarded.
fn dropping(payload: &[u8]) -> Option<String> {
    let attributes = payload.get(EVERY_FAMILY.len()..)?;
    let hook = find(find(attributes, HOOK)?, HOOK_NUMBER)?;
    if hook != FORWARD || find(attributes, POLICY)? != DROP {
        return None;
    }
    let text = |kind| {
        let bytes = find(attributes, kind).unwrap_or_default();
        String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
    };
    Some(format!("{}/{}", text(TABLE), text(NAME)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::netlink::attribute::Writer;

    fn chain(hook: u32, policy: u32) -> Vec<u8> {
        let mut bytes = EVERY_FAMILY.to_vec();
        Writer(&mut bytes)
            .string(TABLE, "filter")
            .string(NAME, "FORWARD")
            .be32(POLICY, policy)
            .nested(HOOK, |inner| {
                inner.be32(HOOK_NUMBER, hook);
            });
        bytes
    }

    #[test]
    fn only_a_chain_that_drops_what_is_forwarded_is_told() {
        assert_eq!(dropping(&chain(2, 0)), Some("filter/FORWARD".to_owned()));
        assert_eq!(dropping(&chain(2, 1)), None);
        assert_eq!(dropping(&chain(1, 0)), None);
        assert_eq!(dropping(&EVERY_FAMILY), None);
        assert_eq!(dropping(&[]), None);
    }
}
