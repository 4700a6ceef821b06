//! Encryption: who trusts whom, by certificates made for each test.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd};
use snakepit_client::{Client, ClientTls, ConnectError, Credentials, connect};
use snakepit_proto::v1::{
    GetServerInfoRequest, GetServerInfoResponse, VariableType, WriteVariablesRequest,
    server_service_client::ServerServiceClient, session_service_client::SessionServiceClient,
    variable_service_client::VariableServiceClient,
};
use snakepit_server::{server::Server, tls::ServerTls};
use tonic::Status;

use crate::{
    command_line::{Served, snakepit},
    support::{
        guarded::{ALL, table},
        setup::*,
    },
};

/// Who signs.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
struct Identity {
    cert: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // Another name for each: by the name it is found who has signed.
        params.distinguished_name.push(DnType::CommonName, unique("authority"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn sign(&self, name: &str, until: i32) -> Identity {
        self.sign_for(name, 1975, until)
    }

    fn sign_for(&self, name: &str, from: i32, until: i32) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { cert, key: key.serialize_pem() }
    }

    fn trusted(&self) -> ClientTls {
        ClientTls::new(Some(self.pem.as_bytes()))
    }
}

impl Identity {
    fn server(&self, client_ca: Option<&Authority>) -> ServerTls {
        let client_ca = client_ca.map(|ca| ca.pem.as_bytes());
        ServerTls::new(self.cert.as_bytes(), self.key.as_bytes(), client_ca).unwrap()
    }
}

async fn info(address: &str, tls: ClientTls) -> Result<GetServerInfoResponse, Status> {
    let connected = connect(address, &Credentials::default().tls(tls)).await;
    let connected = connected.map_err(|error| Status::unavailable(error.to_string()))?;
    let answer = ServerServiceClient::new(connected).get_server_info(GetServerInfoRequest {}).await;
    answer.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_client_that_trusts_the_authority_is_served() {
    let authority = Authority::new();
    let tls = authority.sign("127.0.0.1", 4096).server(None);
    let server = TestServer::of(Server::builder().tls(tls)).await;
    let credentials = Credentials::default().tls(authority.trusted());
    let client = Client::connect_with(&server.address.to_string(), &credentials).await.unwrap();
    assert!(client.session("s").await.unwrap().list_tools().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_certificate_that_is_not_right_is_told_in_a_sentence() {
    let (authority, other) = (Authority::new(), Authority::new());
    for (identity, trusted, told) in [
        (authority.sign("127.0.0.1", 4096), other.trusted(), "issuer"),
        (authority.sign("127.0.0.1", 2020), authority.trusted(), "expired"),
        (authority.sign("example.org", 4096), authority.trusted(), "name"),
    ] {
        let server = TestServer::of(Server::builder().tls(identity.server(None))).await;
        let answer = connect(&server.address.to_string(), &Credentials::default().tls(trusted)).await;
        let Err(ConnectError::Untrusted { problem, .. }) = answer else { panic!("{answer:?}") };
        assert!(problem.to_lowercase().contains(told), "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_does_not_encrypt_is_told_to_where_the_server_does() {
    let tls = Authority::new().sign("127.0.0.1", 4096).server(None);
    let server = TestServer::of(Server::builder().tls(tls)).await;
    let address = server.address.to_string();
    let list = || snakepit().args(["session", "list", "--address", &address]).output().unwrap();
    let output = tokio::task::block_in_place(list);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("--tls-ca") && said.contains(&address), "{said}");
}

#[tokio::test]
async fn a_client_that_does_not_encrypt_is_not_served_and_a_plain_server_is_not_trusted() {
    let authority = Authority::new();
    let tls = authority.sign("127.0.0.1", 4096).server(None);
    let server = TestServer::of(Server::builder().tls(tls)).await;
    let plain = Client::connect(&server.address.to_string()).await;
    assert!(match plain {
        Ok(client) => client.session("s").await.is_err(),
        Err(_) => true,
    });
    let server = TestServer::start().await;
    assert!(info(&server.address.to_string(), authority.trusted()).await.is_err());
}

#[tokio::test]
async fn a_server_that_asks_for_certificates_serves_those_that_its_authority_has_signed() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let tls = authority.sign("127.0.0.1", 4096).server(Some(&clients));
    let server = TestServer::of(Server::builder().tls(tls)).await;
    let address = server.address.to_string();
    let with = |identity: &Identity| authority.trusted().identity(identity.cert.as_bytes(), identity.key.as_bytes());
    let (good, old) = (clients.sign("alice", 4096), clients.sign("alice", 2020));
    let foreign = authority.sign("alice", 4096);
    assert!(info(&address, authority.trusted()).await.is_err(), "none");
    assert!(info(&address, with(&foreign)).await.is_err(), "another authority's");
    assert!(info(&address, with(&old)).await.is_err(), "an expired one");
    info(&address, with(&good)).await.unwrap();

    let connected = connect(&address, &Credentials::default().tls(with(&good))).await.unwrap();
    let create = snakepit_proto::v1::CreateSessionRequest {
        session_id: "s".into(),
        incarnation: incarnation().into(),
        ..Default::default()
    };
    SessionServiceClient::new(connected.clone()).create_session(create).await.unwrap();
    let mut variables = VariableServiceClient::new(connected);
    let write = WriteVariablesRequest {
        session_id: "s".into(),
        operations: vec![register("n", VariableType::Integer, int(0))],
        author: "somebody else".into(),
        ..Default::default()
    };
    variables.write_variables(write).await.unwrap();
    let request = snakepit_proto::v1::GetVariablesRequest {
        session_id: "s".into(),
        names: vec!["n".into()],
        ..Default::default()
    };
    let by = variables.get_variables(request).await.unwrap().into_inner().variables.remove(0).updated_by.unwrap();
    assert!(by.verified && by.name.starts_with("certificate:"), "{by:?}");
}

#[test]
fn a_certificate_that_is_none_is_refused_before_anyone_is_served() {
    let authority = Authority::new();
    let (one, other) = (authority.sign("a", 4096), authority.sign("b", 4096));
    for (cert, key) in [("", &*one.key), (&*one.cert, ""), (&*one.cert, &*other.key), ("nonsense", "nonsense")] {
        assert!(ServerTls::new(cert.as_bytes(), key.as_bytes(), None).is_err());
    }
}

#[test]
fn a_certificate_that_is_not_valid_now_is_warned_about_at_the_start_and_by_doctor() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let doctor = |cert: &Path| {
        let doctor = ["doctor", "--no-write", "--json", "--address", "127.0.0.1:1", "--server-cert"];
        let told = snakepit().args(doctor).arg(cert).output().unwrap();
        let told = crate::command_line::objects(&String::from_utf8(told.stdout).unwrap());
        let found = told.into_iter().find(|it| it["check"] == "certificate").unwrap();
        (found["verdict"].as_str().unwrap().to_owned(), found["what"].to_string() + &found["next"].to_string())
    };
    for (from, until, verdict, named) in [
        (1975, 2020, "fail", Some("expired at 2020-01-01T00:00:00Z")),
        (4000, 4096, "fail", Some("valid only from 4000-01-01T00:00:00Z")),
        (1975, 4096, "ok", None),
    ] {
        let identity = authority.sign_for("127.0.0.1", from, until);
        let (cert, key) = (put(directory.path(), "cert", &identity.cert), put(directory.path(), "key", &identity.key));
        let flags = ["--ephemeral", "--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
        let (code, log) = Served::start(&flags).stop();
        assert_eq!((code, named.is_none_or(|named| log.contains(named))), (Some(0), true), "{log}");
        assert_eq!(log.contains("WARN"), named.is_some(), "{log}");
        let (found, what) = doctor(&cert);
        assert!(found == verdict && what.contains(named.unwrap_or("4096-01-01")), "{found}: {what}");
    }
}

fn put(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_address_takes_encryption_and_to_know_who_comes() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let identity = authority.sign("127.0.0.1", 4096);
    let file = |name: &str, text: &str| put(directory.path(), name, text).to_str().unwrap().to_owned();
    let (ca, cert, key) = (file("ca", &authority.pem), file("cert", &identity.cert), file("key", &identity.key));
    let tokens = file("tokens", &table("all", ALL, "*"));
    let token = file("token", "spt_all\n");
    let tls = ["--tls-cert", &*cert, "--tls-key", &*key];
    let (with_tokens, with_clients) = (["--auth-token-file", &*tokens], ["--tls-client-ca", &*ca]);
    for flags in [&[][..], &tls, &with_tokens] {
        let refused = snakepit().args(["serve", "--ephemeral", "--listen", "0.0.0.0:0"]).args(flags).output().unwrap();
        assert_eq!(refused.status.code(), Some(1), "{flags:?}");
    }
    drop(Served::listening("0.0.0.0:0", &[&["--ephemeral"][..], &tls, &with_clients].concat()));

    let server = Served::listening("0.0.0.0:0", &[&["--ephemeral"][..], &tls, &with_tokens].concat());
    let address = format!("127.0.0.1:{}", server.address.rsplit(':').next().unwrap());
    let credentials = Credentials::default().tls(authority.trusted()).token("spt_all").unwrap();
    let connected = connect(&address, &credentials).await.unwrap();
    let told = ServerServiceClient::new(connected).get_server_info(GetServerInfoRequest {}).await.unwrap();
    assert!(!told.into_inner().insecure);
    Client::connect_with(&address, &credentials).await.unwrap().session("s").await.unwrap();

    let list = |flags: &[&str]| {
        let mut command = snakepit();
        command.args(["var", "list", "--address", &address, "--session", "s"]).args(flags).output().unwrap()
    };
    assert!(list(&["--tls-ca", &ca, "--token-file", &token]).status.success());
    let refused = list(&["--tls-ca", &ca]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("UNAUTHENTICATED"));
    let other = file("other", &Authority::new().pem);
    // The server hears of it when the client has gone: of one of these before it stops.
    for _ in 0..4 {
        let untrusted = list(&["--tls-ca", &other, "--token-file", &token]);
        assert_eq!(untrusted.status.code(), Some(1));
    }
    let (_, log) = server.stop();
    assert!(log.contains("tls accept error"), "the server tells too: {log}");
    assert!(!log.contains("spt_all"));
}
