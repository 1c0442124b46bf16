// Asks a server for one prediction of the model `tiny`: node ask.js ADDRESS DESCRIPTORS, an image of ones, 8 x 8.
const fs = require("fs");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [address, descriptors] = process.argv.slice(2);
const definition = loader.loadFileDescriptorSetFromBuffer(fs.readFileSync(descriptors), { longs: Number });
const { PredictionService } = grpc.loadPackageDefinition(definition).tensorflow.serving;
const client = new PredictionService(address, grpc.credentials.createInsecure());
const shape = [1, 8, 8, 1].map((size) => ({ size }));
const image = { dtype: "DT_FLOAT", tensor_shape: { dim: shape }, float_val: [1] };
const request = { model_spec: { name: "tiny" }, inputs: [{ key: "image", value: image }] };
client.predict(request, (error, reply) => {
  if (error) throw error;
  console.log(JSON.stringify(reply.outputs.map(({ key, value }) => [key, value.float_val])));
});
