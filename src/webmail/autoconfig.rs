//! Settings for mail programs, so that a user types an address and a password and nothing else: for Thunderbird and all that do
//! as it does, for Outlook (Autodiscover), for Apple's (a profile); a page for people; and for other hosts the policy of MTA-STS. Nobody need be logged in for them:
//! they tell what every port scan does.

use super::Server;
use super::frame;
use crate::config::offers::{Offer, offers};
use crate::config::schema::{Config, Protocol, Tls};
use crate::delivery::policy::Policy;
use crate::httpd::{Method, Request, Response, Status};
use crate::mail::Address;
use maud::html;
use ring::digest::{SHA256, digest};

/// Bytes of a question of Outlook's.
const MOST_QUESTION: u64 = 16 << 10;

/// What Outlook asks for: nothing else is told.
const OUTLOOK: &str = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a";

/// Answers, if it is one of these that is asked for.
pub(super) fn answer(server: &Server, request: &mut Request<'_>, segments: &[&str]) -> Option<Result<Response, Status>> {
    if request.head.method == Method::Other {
        return None;
    }
    let config = &*server.config;
    let small: Vec<String> = segments.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let small: Vec<&str> = small.iter().map(String::as_str).collect();
    let is_post = request.head.method == Method::Post;
    Some(match (small.as_slice(), is_post) {
        ([".well-known", "mta-sts.txt"], false) => sts_policy(config, request),
        ([".well-known", "autoconfig", "mail", "config-v1.1.xml"] | ["mail", "config-v1.1.xml"], false) => {
            let address = request.head.parameter("emailaddress");
            address.map_or(Ok(()), |address| ours(config, &address).map(drop)).map(|()| xml(thunderbird(config)))
        }
        (["autodiscover", "autodiscover.xml"], true) => outlook(config, request),
        (["apple.mobileconfig"], false) => {
            let address = request.head.parameter("address").unwrap_or_default();
            ours(config, &address).map(|address| {
                Response::of(Status::OK, "application/x-apple-aspen-config", apple(config, &address).into_bytes())
                    .with("Content-Disposition", "attachment; filename=\"mail.mobileconfig\"")
            })
        }
        (["setup"], false) => Ok(page(config)),
        _ => return None,
    })
}

fn xml(text: String) -> Response {
    Response::of(Status::OK, "application/xml; charset=utf-8", text.into_bytes())
}

/// What one of our domains says of the host that takes its mail (RFC 8461 §3.2), asked for by the name that leads to it.
fn sts_policy(config: &Config, request: &Request<'_>) -> Result<Response, Status> {
    let host = request.head.field("host").unwrap_or_default().to_ascii_lowercase();
    let name = host.split(':').next().and_then(|name| name.strip_prefix("mta-sts."));
    let is_ours = |name: &str| config.domains.iter().any(|domain| domain == name);
    name.filter(|name| is_ours(name)).ok_or(Status::NOT_FOUND)?;
    Ok(Response::of(Status::OK, "text/plain", Policy::own(&config.hostname).to_string().into_bytes()))
}

/// An address of a domain that is at home here.
fn ours(config: &Config, address: &str) -> Result<Address, Status> {
    let address: Address = address.trim().parse().map_err(|_| Status::BAD_REQUEST)?;
    if config.domains.contains(&address.domain().key()) { Ok(address) } else { Err(Status::NOT_FOUND) }
}

/// As text in XML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&apos;")
}

/// Mozilla's form, version 1.1. The programs put the address's local part in place of the placeholder.
fn thunderbird(config: &Config) -> String {
    let host = escaped(&config.hostname);
    let domains: String = config.domains.iter().map(|domain| format!("    <domain>{}</domain>\n", escaped(domain))).collect();
    let servers = offers(config).into_iter().map(|Offer { protocol, port, tls }| {
        let (element, kind) = match protocol {
            Protocol::Submission => ("outgoingServer", "smtp"),
            other => ("incomingServer", other.name()),
        };
        let socket = if tls == Tls::Implicit { "SSL" } else { "STARTTLS" };
        format!(
            "    <{element} type=\"{kind}\">\n      <hostname>{host}</hostname>\n      <port>{port}</port>\n      \
             <socketType>{socket}</socketType>\n      <authentication>password-cleartext</authentication>\n      \
             <username>%EMAILLOCALPART%</username>\n    </{element}>\n"
        )
    });
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<clientConfig version=\"1.1\">\n  <emailProvider id=\"{host}\">\n{domains}    \
         <displayName>{host}</displayName>\n    <displayShortName>{host}</displayShortName>\n{}  </emailProvider>\n</clientConfig>\n",
        servers.collect::<String>()
    )
}

/// The plain form of Autodiscover, as programs ask for it that know no better.
fn outlook(config: &Config, request: &mut Request<'_>) -> Result<Response, Status> {
    let mut question = Vec::new();
    request.read_body(MOST_QUESTION, |bytes| question.extend_from_slice(bytes))?;
    let question = String::from_utf8(question).map_err(|_| Status::BAD_REQUEST)?;
    let address = between(&question, "<EMailAddress>", "</EMailAddress>").ok_or(Status::BAD_REQUEST)?;
    let address = ours(config, address)?;
    let (host, login) = (escaped(&config.hostname), escaped(address.local()));
    let servers = offers(config).into_iter().map(|Offer { protocol, port, tls }| {
        let kind = if protocol == Protocol::Submission { "SMTP".to_owned() } else { protocol.name().to_ascii_uppercase() };
        let encryption = if tls == Tls::Implicit { "SSL" } else { "TLS" };
        format!(
            "      <Protocol>\n        <Type>{kind}</Type>\n        <Server>{host}</Server>\n        <Port>{port}</Port>\n        \
             <LoginName>{login}</LoginName>\n        <SSL>on</SSL>\n        <Encryption>{encryption}</Encryption>\n        \
             <SPA>off</SPA>\n        <AuthRequired>on</AuthRequired>\n      </Protocol>\n"
        )
    });
    Ok(xml(format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
         <Autodiscover xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006\">\n  \
         <Response xmlns=\"{OUTLOOK}\">\n    <Account>\n      <AccountType>email</AccountType>\n      <Action>settings</Action>\n{}    \
         </Account>\n  </Response>\n</Autodiscover>\n",
        servers.collect::<String>()
    )))
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    text.split_once(begin)?.1.split_once(end).map(|(inside, _)| inside)
}

/// A profile (com.apple.mail.managed): IMAP, or POP3 where there is nothing else, and submission. Passwords are asked for.
fn apple(config: &Config, address: &Address) -> String {
    let offers = offers(config);
    let find = |protocol: Protocol| offers.iter().find(|offer| offer.protocol == protocol);
    let mut account = Vec::new();
    let whole = address.to_string();
    account.push(("EmailAddress", text(&whole)));
    if let Some((kind, offer)) =
        find(Protocol::Imap).map(|it| ("EmailTypeIMAP", it)).or_else(|| find(Protocol::Pop3).map(|it| ("EmailTypePOP", it)))
    {
        account.push(("EmailAccountType", text(kind)));
        account.extend(host_of("Incoming", config, offer, address));
    }
    if let Some(offer) = find(Protocol::Submission) {
        account.extend(host_of("Outgoing", config, offer, address));
    }
    account.push(("PayloadType", text("com.apple.mail.managed")));
    account.extend(payload(&whole, config, "account", &whole));
    let account: String = account.iter().map(|(key, value)| format!("      <key>{key}</key>{value}\n")).collect();
    let mut profile = vec![("PayloadType", text("Configuration"))];
    profile.extend(payload(&whole, config, "profile", &format!("Mail of {whole}")));
    let profile: String = profile.iter().map(|(key, value)| format!("  <key>{key}</key>{value}\n")).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
         <plist version=\"1.0\">\n<dict>\n  <key>PayloadContent</key>\n  <array>\n    <dict>\n{account}    </dict>\n  </array>\n\
         {profile}</dict>\n</plist>\n"
    )
}

fn text(value: &str) -> String {
    format!("<string>{}</string>", escaped(value))
}

fn host_of(side: &str, config: &Config, offer: &Offer, address: &Address) -> Vec<(&'static str, String)> {
    let keys: [&'static str; 5] = match side {
        "Incoming" => [
            "IncomingMailServerHostName",
            "IncomingMailServerPortNumber",
            "IncomingMailServerUseSSL",
            "IncomingMailServerAuthentication",
            "IncomingMailServerUsername",
        ],
        _ => [
            "OutgoingMailServerHostName",
            "OutgoingMailServerPortNumber",
            "OutgoingMailServerUseSSL",
            "OutgoingMailServerAuthentication",
            "OutgoingMailServerUsername",
        ],
    };
    let values = [
        text(&config.hostname),
        format!("<integer>{}</integer>", offer.port),
        "<true/>".to_owned(),
        text("EmailAuthPassword"),
        text(address.local()),
    ];
    keys.into_iter().zip(values).collect()
}

/// What every payload has. Its names are the same each time, so that a profile that is fetched again takes the old one's place.
fn payload(address: &str, config: &Config, part: &str, shown: &str) -> Vec<(&'static str, String)> {
    let hash = digest(&SHA256, format!("{part} {address} {}", config.hostname).as_bytes());
    let hex: Vec<String> = hash.as_ref().iter().take(16).map(|byte| format!("{byte:02X}")).collect();
    let group = |from: usize, to: usize| hex.get(from..to).unwrap_or_default().concat();
    // Of a hash, RFC 9562 §5.8.
    let uuid = format!("{}-{}-8{}-8{}-{}", group(0, 4), group(4, 6), &group(6, 8)[1..], &group(8, 10)[1..], group(10, 16));
    vec![
        ("PayloadDisplayName", text(shown)),
        ("PayloadIdentifier", text(&format!("{}.{part}.{address}", config.hostname))),
        ("PayloadUUID", text(&uuid)),
        ("PayloadVersion", "<integer>1</integer>".to_owned()),
    ]
}

/// For people.
fn page(config: &Config) -> Response {
    let name = |protocol: Protocol| match protocol {
        Protocol::Imap => "Incoming mail, IMAP",
        Protocol::Pop3 => "Incoming mail, POP3",
        _ => "Outgoing mail, SMTP",
    };
    let encrypted = |tls: Tls| if tls == Tls::Implicit { "SSL/TLS" } else { "STARTTLS" };
    frame::bare(
        Status::OK,
        "Set up a mail program",
        &html! {
            main.login {
                h1 { "Set up a mail program" }
                p { "Most programs need your address and your password only. Where one asks for more:" }
                dl {
                    dt { "Server" }
                    dd { (config.hostname) }
                    dt { "User name" }
                    dd { "what stands before the @ of your address" }
                    @for offer in offers(config) {
                        dt { (name(offer.protocol)) }
                        dd { "port " (offer.port) ", " (encrypted(offer.tls)) ", with password" }
                    }
                }
                form action="/apple.mobileconfig" {
                    label { "For an iPhone, an iPad or a Mac: your address" input type="email" name="address" required; }
                    button type="submit" { "Get a profile" }
                }
                p { a href="/login" { "Mail in the browser" } }
            }
        },
    )
}
