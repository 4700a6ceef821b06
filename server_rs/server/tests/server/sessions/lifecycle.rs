//! Opening, finding and ending sessions, and telling their lives apart.

use snakepit_proto::v1::{
    CreateSessionRequest, DeleteSessionRequest, GetSessionRequest, ListSessionsRequest, SyncVariablesRequest,
    WatchMode, WatchVariablesRequest,
};

use crate::support::setup::*;

#[tokio::test]
async fn opening_a_live_session_returns_it_unchanged() {
    let server = TestServer::start().await;
    let mut session = server.session().await;
    session.integers(["n"]).await;
    let request = CreateSessionRequest {
        session_id: session.id.clone(),
        incarnation: incarnation().into(),
        ttl: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        metadata: [("k".into(), "v".into())].into(),
    };
    let opened = session.sessions.create_session(request.clone()).await.unwrap().into_inner();
    let found = opened.session.unwrap();
    assert!(!opened.created);
    assert_eq!((&found.incarnation[..], found.revision, found.variable_count), (&session.incarnation[..], 2, 1));
    assert_eq!((found.ttl, found.metadata.len()), (None, 0));
    let retry = CreateSessionRequest { incarnation: session.incarnation.clone().into(), ..request };
    assert!(session.sessions.create_session(retry).await.unwrap().into_inner().created);
}

#[tokio::test]
async fn a_session_says_what_it_was_created_with() {
    let server = TestServer::start().await;
    let request = CreateSessionRequest {
        ttl: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        metadata: [("team".into(), "red".into())].into(),
        ..Default::default()
    };
    let mut session = TestSession::create(server.connect().await, request).await;
    let get = GetSessionRequest { session_id: session.id.clone() };
    let found = session.sessions.get_session(get).await.unwrap().into_inner().session.unwrap();
    assert_eq!((found.id, found.revision), (session.id, 1));
    assert_eq!(found.metadata["team"], "red");
    assert_eq!(found.ttl.unwrap().seconds, 60);
    assert_eq!(found.expires_at.unwrap().seconds - found.created_at.unwrap().seconds, 60);
}

#[tokio::test]
async fn a_session_needs_an_id_an_incarnation_and_at_least_a_second() {
    let server = TestServer::start().await;
    let mut session = server.session().await;
    let good =
        || CreateSessionRequest { session_id: unique("s"), incarnation: incarnation().into(), ..Default::default() };
    let ttl = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
    for (field, request) in [
        ("session_id", CreateSessionRequest { session_id: String::new(), ..good() }),
        ("session_id", CreateSessionRequest { session_id: "a/b".into(), ..good() }),
        ("session_id", CreateSessionRequest { session_id: "s".repeat(129), ..good() }),
        ("incarnation", CreateSessionRequest { incarnation: Vec::new().into(), ..good() }),
        ("incarnation", CreateSessionRequest { incarnation: vec![1; 17].into(), ..good() }),
        ("ttl", CreateSessionRequest { ttl: ttl(0, 999_999_999), ..good() }),
        ("ttl", CreateSessionRequest { ttl: ttl(-5, 0), ..good() }),
        ("ttl", CreateSessionRequest { ttl: ttl(i64::MAX, 0), ..good() }),
    ] {
        let refused = refused(session.sessions.create_session(request).await);
        assert_eq!((&*refused.reason, refused.fact("field")), ("INVALID_REQUEST", field));
    }
    session.sessions.create_session(CreateSessionRequest { ttl: ttl(1, 0), ..good() }).await.unwrap();
}

#[tokio::test]
async fn sessions_are_listed_by_id_in_pages() {
    let server = TestServer::start().await;
    let channel = server.connect().await;
    let mut ids: Vec<String> = (0..7).map(|n| format!("team-{n}")).collect();
    for session_id in ids.iter().chain([&"other".to_owned()]) {
        let request = CreateSessionRequest { session_id: session_id.clone(), ..Default::default() };
        TestSession::create(channel.clone(), request).await;
    }
    let mut client = snakepit_proto::v1::session_service_client::SessionServiceClient::new(channel);
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListSessionsRequest { pattern: "team-*".into(), page_size: 3, page_token };
        let page = client.list_sessions(request).await.unwrap().into_inner();
        listed.extend(page.sessions.into_iter().map(|session| session.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    ids.sort();
    assert_eq!(listed, ids);
    let request = ListSessionsRequest { page_token: "!".into(), ..Default::default() };
    assert_eq!(refused(client.list_sessions(request).await).fact("field"), "page_token");
}

#[tokio::test]
async fn a_deleted_session_is_not_found_and_its_id_may_live_again() {
    let server = TestServer::start().await;
    let mut session = server.session().await;
    session.integers(["n"]).await;
    let mut watch = session.watch(session.watch_of(WatchMode::Every)).await.unwrap();
    watch.message().await.unwrap();
    let delete = DeleteSessionRequest { session_id: session.id.clone(), ..Default::default() };
    let other = DeleteSessionRequest { incarnation: incarnation().into(), ..delete.clone() };
    assert_eq!(refused(session.sessions.delete_session(other).await).reason, "SESSION_EXPIRED");
    let ended = session.sessions.delete_session(delete.clone()).await.unwrap().into_inner();
    assert_eq!((ended.revision, &ended.incarnation[..]), (3, &session.incarnation[..]));
    assert_eq!(refused(watch.message().await).reason, "SESSION_NOT_FOUND");
    assert_eq!(refused(session.get("n").await).reason, "SESSION_NOT_FOUND");
    assert_eq!(refused(session.sessions.delete_session(delete).await).reason, "SESSION_NOT_FOUND");
    let again = CreateSessionRequest { session_id: session.id.clone(), ..Default::default() };
    let again = TestSession::create(session.channel.clone(), again).await;
    assert_ne!(again.incarnation, session.incarnation);
    assert_eq!(refused(again.get("n").await).reason, "VARIABLE_NOT_FOUND");
}

#[tokio::test]
async fn nothing_mistakes_one_life_of_an_id_for_another() {
    let server = TestServer::start().await;
    let mut old = server.session().await;
    old.integers(["n"]).await;
    let delete = DeleteSessionRequest { session_id: old.id.clone(), ..Default::default() };
    old.sessions.delete_session(delete).await.unwrap();
    let request = CreateSessionRequest { session_id: old.id.clone(), ..Default::default() };
    let new = TestSession::create(old.channel.clone(), request).await;
    new.integers(["n"]).await;
    let incarnation = || old.incarnation.clone().into();
    let write =
        snakepit_proto::v1::WriteVariablesRequest { incarnation: incarnation(), ..old.write_of([set("n", int(1))]) };
    assert_eq!(refused(old.send(write).await).reason, "SESSION_EXPIRED");
    let every = WatchVariablesRequest { known_revision: 2, ..old.watch_of(WatchMode::Every) };
    assert_eq!(refused(old.watch(every).await).reason, "SESSION_EXPIRED");
    let sync = SyncVariablesRequest {
        session_id: old.id.clone(),
        incarnation: incarnation(),
        known_revision: 99,
        names: texts(&["n"]),
        ..Default::default()
    };
    let answer = new.variables.clone().sync_variables(sync).await.unwrap().into_inner();
    assert_eq!((answer.full, answer.revision, &answer.incarnation[..]), (true, 2, &new.incarnation[..]));
    let latest = WatchVariablesRequest { known_revision: 99, ..old.watch_of(WatchMode::Latest) };
    let told = old.watch(latest).await.unwrap().message().await.unwrap().unwrap();
    assert_eq!((&told.incarnation[..], told.revision), (&new.incarnation[..], 2));
}
