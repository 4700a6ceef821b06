use proptest::prelude::*;

use super::*;
use crate::{testing::values::value, value::MAX_EXACT_INTEGER};

fn finite() -> impl Strategy<Value = f64> {
    prop_oneof![-4.0..4.0f64, -1e300..1e300f64, prop::sample::select(vec![0.0, -0.0, 1.0, 1e-300, f64::MAX])]
}

fn any_float() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => finite(),
        1 => prop::sample::select(vec![f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
    ]
}

fn float_limits() -> impl Strategy<Value = FloatConstraints> {
    let step = prop::option::of(prop::sample::select(vec![0.1, 0.25, 1.0, 3.0]));
    (prop::option::of(finite()), prop::option::of(finite()), any::<[bool; 4]>(), step).prop_map(
        |(min, max, [exclusive_min, exclusive_max, allow_nan, allow_infinity], step)| FloatConstraints {
            min,
            max,
            exclusive_min,
            exclusive_max,
            step,
            allow_nan,
            allow_infinity,
        },
    )
}

/// Valid specs of every type.
fn spec() -> impl Strategy<Value = Spec> {
    let constraints = prop_oneof![
        float_limits().prop_map(|it| (Type::Float, Constraints::Float(it))),
        (prop::option::of(-9i64..9), prop::option::of(-9i64..9), prop::option::of(0i64..4))
            .prop_map(|(min, max, step)| (Type::Integer, Constraints::Integer(IntegerConstraints { min, max, step }))),
        (0u64..9, 0u64..90).prop_map(|(min, max)| {
            let limits = StringConstraints {
                min_length: Some(min),
                max_length: Some(max),
                pattern: Some(Pattern::new("[^x]*")),
                one_of: Vec::new(),
            };
            (Type::String, Constraints::String(limits))
        }),
        prop::collection::vec(value(), 1..4)
            .prop_map(|choices| (Type::Choice, Constraints::Choice(ChoiceConstraints { choices }))),
        (prop::option::of(0u64..4), prop::option::of(0u64..4), any::<bool>()).prop_map(
            |(max_items, max_depth, list)| {
                let limits = CollectionConstraints { max_items, max_depth };
                (if list { Type::List } else { Type::Map }, Constraints::Collection(limits))
            }
        ),
        prop::sample::select(vec![
            Type::Float,
            Type::Integer,
            Type::String,
            Type::Boolean,
            Type::Module,
            Type::Embedding,
            Type::Tensor,
            Type::List,
            Type::Map,
            Type::Bytes
        ])
        .prop_map(|ty| (ty, Constraints::None)),
    ];
    let spec = (constraints, any::<[bool; 2]>()).prop_map(|((ty, constraints), [nullable, secret])| Spec {
        nullable,
        secret,
        ..Spec::new(ty, constraints)
    });
    spec.prop_filter("valid", |spec| spec.validate().is_ok())
}

proptest! {
    #[test]
    fn what_was_accepted_is_accepted_as_it_is(spec in spec(), value in value()) {
        if let Ok(accepted) = spec.accept(&name(), value.clone()) {
            prop_assert_eq!(spec.accept(&name(), accepted.clone()).unwrap(), accepted.clone());
            if !matches!((spec.ty, &value), (Type::Float, Value::Int(_))) {
                prop_assert_eq!(accepted, value);
            }
        }
    }

    #[test]
    fn a_float_within_its_limits_is_all_that_is_accepted(limits in float_limits(), value in any_float()) {
        let spec = float(limits.clone());
        prop_assume!(spec.validate().is_ok());
        let accepted = spec.accept(&name(), Value::Float(value)).is_ok();
        let within = limits.min.is_none_or(|min| if limits.exclusive_min { value > min } else { value >= min })
            && limits.max.is_none_or(|max| if limits.exclusive_max { value < max } else { value <= max });
        if value.is_nan() {
            prop_assert_eq!(accepted, limits.allow_nan);
        } else if value.is_infinite() {
            prop_assert_eq!(accepted, limits.allow_infinity && within);
        } else if limits.step.is_none() {
            prop_assert_eq!(accepted, within);
        } else {
            prop_assert!(within || !accepted);
        }
    }

    #[test]
    fn a_multiple_of_the_step_is_accepted_and_half_a_step_off_is_not(k in -10_000i32..10_000, step in 0.001..10.0f64, min in -5.0..5.0f64) {
        let spec = float(FloatConstraints { step: Some(step), min: Some(min - 1e6), ..FloatConstraints::default() });
        let on = (min - 1e6) + f64::from(k.abs()) * step;
        prop_assert!(spec.accept(&name(), Value::Float(on)).is_ok());
        prop_assert_eq!(spec.accept(&name(), Value::Float(on + step / 2.0)).is_ok(), step / 2.0 <= 1e-9 * (on + step / 2.0).abs());
    }

    #[test]
    fn a_whole_number_is_a_float_exactly_up_to_2_to_the_53(whole in prop_oneof![any::<i64>(), -9i64..9,
        (MAX_EXACT_INTEGER - 2)..(MAX_EXACT_INTEGER + 3), (-MAX_EXACT_INTEGER - 2)..(-MAX_EXACT_INTEGER + 3)]) {
        match plain(Type::Float).accept(&name(), Value::Int(whole)) {
            #[expect(clippy::cast_possible_truncation, reason = "a whole number within 2^53")]
            Ok(Value::Float(float)) => prop_assert!(float as i64 == whole && whole.abs() <= MAX_EXACT_INTEGER),
            Err(Error::TypeMismatch { .. }) => prop_assert!(whole.unsigned_abs() > MAX_EXACT_INTEGER.unsigned_abs()),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn a_boolean_is_no_number_and_a_float_no_integer(truth: bool, number in any_float()) {
        for ty in [Type::Float, Type::Integer] {
            prop_assert!(mismatched(&plain(ty), truth));
        }
        prop_assert!(mismatched(&plain(Type::Integer), number));
        for number in [Value::Int(i64::from(truth)), Value::Float(number)] {
            prop_assert!(mismatched(&plain(Type::Boolean), number));
        }
    }

    #[test]
    fn null_is_accepted_exactly_where_it_is_declared(spec in spec()) {
        prop_assert_eq!(spec.accept(&name(), Value::Null).is_ok(), spec.nullable);
        prop_assert!(spec.nullable || mismatched(&spec, Value::Null));
    }
}
