#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use prost::Message as _;
use snakepit_core::{testing::values::value, value::Value};

use crate::v1 as proto;

proptest! {
    #[test]
    fn the_size_of_a_value_is_that_of_its_message(value in value()) {
        prop_assert_eq!(value.encoded_len(), proto::Value::from(&value).encoded_len() as u64);
    }

    #[test]
    fn a_value_is_read_back_from_its_message(value in value()) {
        prop_assert_eq!(Value::try_from(proto::Value::from(&value)), Ok(value));
    }

    #[test]
    fn values_are_equal_exactly_if_their_messages_are_the_same_bytes(a in value(), b in value()) {
        prop_assert_eq!(a == b, proto::Value::from(&a).encode_to_vec() == proto::Value::from(&b).encode_to_vec());
    }
}
