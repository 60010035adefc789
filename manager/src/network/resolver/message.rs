//! The little of DNS messages (RFC 1035, RFC 6891) that a resolver of neighbours' names needs: read one question,
//! write an answer to it. Everything else is passed on as it came.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Types of records.
pub(super) const A: u16 = 1;
pub(super) const PTR: u16 = 12;
pub(super) const AAAA: u16 = 28;

/// Response codes.
pub(super) const SERVER_FAILURE: u8 = 2;
pub(super) const NO_SUCH_NAME: u8 = 3;

const HEADER: usize = 12;
const CLASS_INTERNET: u16 = 1;
/// The most that a datagram has unless its sender says that it takes more.
pub(super) const DATAGRAM: usize = 512;
/// What we say that we take.
const EDNS_SIZE: u16 = 1232;
/// Seconds for which an answer may be kept: containers come and go.
const TIME_TO_LIVE: u32 = 10;

/// The one question of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// The name as it was written, labels with dots between; `None` if a label has a dot or no plain text in it.
    pub(super) name: Option<String>,
    pub(super) kind: u16,
    pub(super) class: u16,
    /// Where the question ends.
    end: usize,
    edns: bool,
}

impl Question {
    /// Whether it is about names of the internet, as all that is answered here.
    pub(super) fn is_of_internet(&self) -> bool {
        self.class == CLASS_INTERNET
    }
}

/// Reads a query: a request of one question.
pub(super) fn parse(message: &[u8]) -> Option<Question> {
    let header = message.get(..HEADER)?;
    let number = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let (is_answer, operation) = (header[2] & 0x80 != 0, header[2] >> 3 & 0xf);
    if is_answer || operation != 0 || number(4) != 1 {
        return None;
    }
    let (name, after) = parse_name(message, HEADER)?;
    let rest = message.get(after..after + 4)?;
    Some(Question {
        name,
        kind: u16::from_be_bytes([rest[0], rest[1]]),
        class: u16::from_be_bytes([rest[2], rest[3]]),
        end: after + 4,
        // The only record that a query has behind its question is EDNS's, or is signed, and then not for us.
        edns: number(10) > 0,
    })
}

fn parse_name(message: &[u8], mut at: usize) -> Option<(Option<String>, usize)> {
    const LONGEST: usize = 255;
    let start = at;
    let (mut name, mut plain) = (String::new(), true);
    loop {
        let length = usize::from(*message.get(at)?);
        // The first two bits say that it goes on elsewhere, which a question cannot.
        if length > 63 || at - start > LONGEST {
            return None;
        }
        at += 1;
        if length == 0 {
            return Some((plain.then_some(name), at));
        }
        let label = message.get(at..at + length)?;
        plain &= label.iter().all(|&b| b.is_ascii_graphic() && b != b'.' && b != b'/');
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(&String::from_utf8_lossy(label));
        at += length;
    }
}

/// Whether `answer` is one to `query`: the same number and the same question.
pub(super) fn answers(query: &[u8], answer: &[u8]) -> bool {
    let Some(question) = parse(query) else { return false };
    let asked = &query[HEADER..question.end];
    answer.get(..2) == query.get(..2)
        && answer.get(2).is_some_and(|flags| flags & 0x80 != 0)
        // An answer to a question that could not be read may leave it out.
        && (answer.get(4..6) == Some(&[0, 0])
            || answer.get(HEADER..question.end).is_some_and(|same| same.eq_ignore_ascii_case(asked)))
}

/// Whether a server says that it has no answer: SERVFAIL, NOTIMP and REFUSED, for which the C library asks the next one, too.
pub(super) fn is_failure(answer: &[u8]) -> bool {
    const NOT_IMPLEMENTED: u8 = 4;
    const REFUSED: u8 = 5;
    let code = answer.get(3).map(|flags| flags & 0xf);
    matches!(code, Some(SERVER_FAILURE | NOT_IMPLEMENTED | REFUSED))
}

/// An answer with these addresses, as many as there is room for; without any, that there are none of that kind. One that was cut says so:
/// whoever wants all of them asks again over a connection.
pub(super) fn addresses(
    query: &[u8],
    question: &Question,
    addresses: &[IpAddr],
    room: usize,
) -> Vec<u8> {
    const TRUNCATED: u8 = 0x02;
    let mut answer = begin(query, question, 0);
    let mut count: u16 = 0;
    for address in addresses {
        let octets: Vec<u8> = match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        if answer.len() + HEADER + octets.len() + edns(question).len() > room {
            answer[2] |= TRUNCATED;
            break;
        }
        push_record(&mut answer, question.kind, &octets);
        count += 1;
    }
    finish(answer, question, count)
}

/// An answer with a name.
pub(super) fn pointer(query: &[u8], question: &Question, name: &str) -> Vec<u8> {
    let mut data = Vec::new();
    for label in name.split('.').filter(|label| (1..64).contains(&label.len())) {
        data.push(u8::try_from(label.len()).unwrap_or(0));
        data.extend_from_slice(label.as_bytes());
    }
    data.push(0);
    let mut answer = begin(query, question, 0);
    push_record(&mut answer, PTR, &data);
    finish(answer, question, 1)
}

/// An answer that says only why there is none.
pub(super) fn failure(query: &[u8], question: &Question, code: u8) -> Vec<u8> {
    finish(begin(query, question, code), question, 0)
}

/// Header and question.
fn begin(query: &[u8], question: &Question, code: u8) -> Vec<u8> {
    const ANSWER: u8 = 0x80;
    const AUTHORITATIVE: u8 = 0x04;
    const RECURSION_DESIRED: u8 = 0x01;
    const RECURSION_AVAILABLE: u8 = 0x80;
    let authority = if code == SERVER_FAILURE { 0 } else { AUTHORITATIVE };
    let flags = ANSWER | authority | query[2] & RECURSION_DESIRED;
    let mut answer = vec![query[0], query[1], flags, RECURSION_AVAILABLE | code, 0, 1];
    answer.resize(HEADER, 0);
    answer.extend_from_slice(&query[HEADER..question.end]);
    answer
}

fn push_record(answer: &mut Vec<u8>, kind: u16, data: &[u8]) {
    /// "The name at offset 12": the question's.
    const SAME_NAME: [u8; 2] = [0xc0, 12];
    answer.extend_from_slice(&SAME_NAME);
    answer.extend_from_slice(&kind.to_be_bytes());
    answer.extend_from_slice(&CLASS_INTERNET.to_be_bytes());
    answer.extend_from_slice(&TIME_TO_LIVE.to_be_bytes());
    answer.extend_from_slice(&u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
    answer.extend_from_slice(data);
}

fn finish(mut answer: Vec<u8>, question: &Question, records: u16) -> Vec<u8> {
    answer[6..8].copy_from_slice(&records.to_be_bytes());
    answer[11] = u8::from(question.edns);
    answer.extend_from_slice(edns(question));
    answer
}

/// Who speaks EDNS is answered in it.
fn edns(question: &Question) -> &'static [u8] {
    const SIZE: [u8; 2] = EDNS_SIZE.to_be_bytes();
    const RECORD: [u8; 11] = [0, 0, 41, SIZE[0], SIZE[1], 0, 0, 0, 0, 0, 0];
    if question.edns { &RECORD } else { &[] }
}

/// The address that a name of `in-addr.arpa` or `ip6.arpa` stands for.
pub(super) fn reverse(name: &str) -> Option<IpAddr> {
    let name = name.to_ascii_lowercase();
    if let Some(digits) = name.strip_suffix(".in-addr.arpa") {
        let octets: Vec<u8> = digits.rsplit('.').map(str::parse).collect::<Result<_, _>>().ok()?;
        return Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).into());
    }
    let digits = name.strip_suffix(".ip6.arpa")?;
    let nibbles: Vec<u128> = digits
        .rsplit('.')
        .map(|digit| u128::from_str_radix(digit, 16).ok().filter(|digit| *digit < 16))
        .collect::<Option<_>>()?;
    let bits = nibbles.iter().fold(0, |bits, nibble| bits << 4 | nibble);
    (nibbles.len() == 32).then(|| Ipv6Addr::from_bits(bits).into())
}

#[cfg(test)]
pub(super) fn query(name: &str, kind: u16) -> Vec<u8> {
    let mut message = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_reads_and_its_answer_has_the_addresses() {
        let query = query("Web.test", A);
        let question = parse(&query).unwrap();
        assert_eq!((question.name.as_deref(), question.kind), (Some("Web.test"), A));
        let answer = addresses(&query, &question, &["10.1.0.2".parse().unwrap()], DATAGRAM);
        assert!(answers(&query, &answer));
        assert_eq!(answer[..8], [0xab, 0xcd, 0x85, 0x80, 0, 1, 0, 1]);
        assert_eq!(answer[answer.len() - 6..], [0, 4, 10, 1, 0, 2]);
        assert!(!answers(&self::query("other.test", A), &answer));
        let none = failure(&query, &question, NO_SUCH_NAME);
        assert_eq!((none[3], none.len()), (0x83, query.len()));
    }

    #[test]
    fn an_answer_never_outgrows_a_datagram_and_speaks_edns_to_who_does() {
        let mut query = query(&["a".repeat(60).as_str(); 3].join("."), AAAA);
        query[11] = 1;
        query.extend([0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0]);
        let question = parse(&query).unwrap();
        let many: Vec<IpAddr> = (0..100).map(|n| IpAddr::from([0, 0, 0, 0, 0, 0, 0, n])).collect();
        let all = addresses(&query, &question, &many, usize::from(u16::MAX));
        assert_eq!((all[2] & 2, all[7]), (0, 100));
        let answer = addresses(&query, &question, &many, DATAGRAM);
        assert!(answer.len() <= DATAGRAM && answer[7] > 5, "{}", answer.len());
        assert_eq!(answer[2] & 2, 2);
        assert_eq!((answer[11], &answer[answer.len() - 11..][..3]), (1, &[0, 0, 41][..]));
    }

    #[test]
    fn what_is_no_query_is_not_read() {
        let whole = query("a.b", A);
        for length in 0..whole.len() {
            assert!(parse(&whole[..length]).is_none(), "{length}");
        }
        let mut answer = whole.clone();
        answer[2] |= 0x80;
        assert!(parse(&answer).is_none());
        let mut pointer = whole.clone();
        pointer[12] = 0xc0;
        assert!(parse(&pointer).is_none());
        let mut two = whole;
        two[5] = 2;
        assert!(parse(&two).is_none());
    }

    #[test]
    fn a_label_that_could_be_a_path_has_no_name() {
        for (label, plain) in
            [("..", false), ("a/b", false), ("a b", false), ("a\u{e9}", false), ("a_b", true)]
        {
            let mut message = query("x", A)[..12].to_vec();
            message.push(u8::try_from(label.len()).unwrap());
            message.extend(label.as_bytes());
            message.extend([0, 0, 1, 0, 1]);
            assert_eq!(parse(&message).unwrap().name.is_some(), plain, "{label}");
        }
    }

    #[test]
    fn reverse_names_are_addresses() {
        assert_eq!(reverse("2.0.1.10.IN-ADDR.ARPA"), Some("10.1.0.2".parse().unwrap()));
        let v6 = format!("1.{}0.0.d.f.ip6.arpa", "0.".repeat(27));
        assert_eq!(reverse(&v6), Some("fd00::1".parse().unwrap()));
        for bad in
            ["in-addr.arpa", "1.2.3.in-addr.arpa", "300.1.1.1.in-addr.arpa", "1.ip6.arpa", "web"]
        {
            assert_eq!(reverse(bad), None, "{bad}");
        }
    }
}
