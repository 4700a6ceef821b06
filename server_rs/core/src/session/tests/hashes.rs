use crate::{
    session::*,
    testing::session::*,
    value::Value,
    variable::{Spec, Type},
};

/// One history, but for the parts given.
fn hash(name: &str, spec: Spec, value: Value, lag: u64) -> [u8; 32] {
    let mut session = Session::live();
    session.now.0 += lag;
    session.act(name, Action::Register { spec: spec.into(), value, replace: false });
    session.state().hash()
}

#[test]
fn a_hash_covers_everything_that_a_variable_is() {
    let number = |value: f64| hash("a", plain(Type::Float), Value::Float(value), 0);
    let described = Spec { description: "other".into(), ..plain(Type::Float) };
    let secret = Spec { secret: true, ..plain(Type::Float) };
    let hashes = [
        number(0.0),
        number(-0.0),
        number(1.0),
        hash("b", plain(Type::Float), Value::Float(0.0), 0),
        hash("a", plain(Type::Float), Value::Float(0.0), 1),
        hash("a", described, Value::Float(0.0), 0),
        hash("a", secret, Value::Float(0.0), 0),
        hash("a", up_to(2.0), Value::Float(0.0), 0),
        hash("a", up_to(3.0), Value::Float(0.0), 0),
    ];
    for (index, one) in hashes.iter().enumerate() {
        assert!(!hashes[..index].contains(one), "{index}");
    }
    assert_eq!(number(0.0), number(0.0));
}
