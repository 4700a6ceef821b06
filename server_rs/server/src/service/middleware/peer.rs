//! Where a request comes from.

use std::net::SocketAddr;

use tonic::{
    body::Body,
    codegen::http,
    transport::server::{TcpConnectInfo, TlsConnectInfo},
};

/// The address of the other side of the request's connection.
pub(super) fn peer(request: &http::Request<Body>) -> Option<SocketAddr> {
    let extensions = request.extensions();
    let plain = extensions.get::<TcpConnectInfo>();
    let encrypted = extensions.get::<TlsConnectInfo<TcpConnectInfo>>().map(TlsConnectInfo::get_ref);
    plain.or(encrypted)?.remote_addr()
}
