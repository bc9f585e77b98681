"""A Keras network through tf2onnx."""
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf
import tf2onnx
from tensorflow.keras import layers


def block(x, filters, stride, initial):
    y = layers.Conv2D(filters, 3, stride, "same", **initial)(x)
    y = layers.ReLU()(layers.BatchNormalization(**norm())(y))
    y = layers.BatchNormalization(**norm())(layers.Conv2D(filters, 3, 1, "same", **initial)(y))
    if stride > 1:
        x = layers.Conv2D(filters, 1, stride, "same", **initial)(x)
    return layers.ReLU()(layers.Add()([x, y]))


def norm():
    draw = lambda lo, hi: tf.keras.initializers.RandomUniform(lo, hi, seed=int(1000 * hi))
    return dict(gamma_initializer=draw(0.6, 1.4), beta_initializer=draw(-0.3, 0.31), moving_mean_initializer=draw(-0.3, 0.32), moving_variance_initializer=draw(0.5, 1.5))


def main(save, _):
    tf.keras.utils.set_random_seed(3)
    initial = dict(kernel_initializer=tf.keras.initializers.HeNormal(seed=5), bias_initializer=tf.keras.initializers.RandomUniform(-0.2, 0.2, seed=6))
    for name, flat, opset in (("keras_mean", False, 13), ("keras_flatten", True, 18)):
        x = first = tf.keras.Input((16, 16, 3))
        x = layers.ZeroPadding2D(3)(x)
        x = layers.ReLU()(layers.BatchNormalization(**norm())(layers.Conv2D(4, 7, 2, **initial)(x)))
        x = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(x))
        x = block(block(x, 4, 1, initial), 8, 2, initial)
        x = layers.Flatten()(x) if flat else layers.GlobalAveragePooling2D()(x)
        logits = layers.Dense(5, **initial)(x)
        net = tf.keras.Model(first, layers.Softmax()(logits))
        signature = [tf.TensorSpec((None, 16, 16, 3), tf.float32, name="x")]
        run = tf.function(lambda x: net(x, training=False), input_signature=signature)
        model, _ = tf2onnx.convert.from_function(run, signature, opset=opset)
        softmax = next(n for n in model.graph.node if n.op_type == "Softmax")
        for node in model.graph.node:
            node.doc_string = ""
        save(name, model, scores=softmax.input[0], fed=([2 / 255] * 3, [-1.0] * 3))
