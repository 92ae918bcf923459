//! real_servers
