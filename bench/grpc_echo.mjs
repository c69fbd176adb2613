// A server of @grpc/grpc-js that answers Health as BfM does: the alternative of bench/grpc. Prints its port.
import grpc from '@grpc/grpc-js';

const answer = Buffer.from([10, 7, ...Buffer.from('healthy'), 18, 14, 10, 8, ...Buffer.from('executor'), 18, 2,
  ...Buffer.from('ok')]);
const pass = (value) => value;
const server = new grpc.Server();
server.addService({
  Health: {
    path: '/migration.MigrationService/Health', requestStream: false, responseStream: false,
    requestSerialize: pass, requestDeserialize: pass, responseSerialize: pass, responseDeserialize: pass,
  },
}, { Health: (call, callback) => callback(null, answer) });
server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(port);
});
