// Calls every method of the gRPC API with @grpc/grpc-js: PROTO ADDRESS TOKEN. Prints one JSON object of what came.
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';

const [proto, address, token] = process.argv.slice(2);
const definition = loader.loadSync(proto, { keepCase: true, defaults: true, longs: Number, oneofs: true });
const { MigrationService } = grpc.loadPackageDefinition(definition).migration;
const client = new MigrationService(address, grpc.credentials.createInsecure());
const metadata = new grpc.Metadata();
metadata.set('authorization', `Bearer ${token}`);
const users = '20250101120000_create_users_postgresql_core';
const target = { connection: 'core' };
const out = {};

function call(method, request = {}, options = {}) {
  return new Promise((resolve, reject) => {
    client[method](request, metadata, { deadline: Date.now() + 60000, ...options },
      (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

// With the metadata in front of the answer.
function callWith(method, request, extra) {
  const own = metadata.clone();
  Object.entries(extra).forEach(([name, value]) => own.set(name, value));
  return new Promise((resolve, reject) => {
    let first;
    client[method](request, own, { deadline: Date.now() + 60000 },
      (error, answer) => (error ? reject(error) : resolve({ answer, metadata: first.getMap() })))
      .on('metadata', (got) => { first = got; });
  });
}

function stream(method, request) {
  return new Promise((resolve, reject) => {
    const got = [];
    client[method](request, metadata)
      .on('data', (message) => got.push(message))
      .on('error', reject)
      .on('end', () => resolve(got));
  });
}

// Messages of a stream without an end until one of them is the last that is wanted; `act` makes them come.
function until(method, request, isLast, act) {
  return new Promise((resolve, reject) => {
    const got = [];
    const reader = client[method](request, metadata);
    const acting = setInterval(() => act().catch(reject), 200);
    reader.on('data', (message) => {
      got.push(message);
      if (!isLast(message))
        return;
      clearInterval(acting);
      reader.cancel();
      resolve(got);
    });
    reader.on('error', (error) => {
      clearInterval(acting);
      if (error.code !== grpc.status.CANCELLED)
        reject(error);
    });
  });
}

async function failure(method, request, options) {
  try {
    await call(method, request, options);
  } catch (error) {
    return { code: grpc.status[error.code], details: error.details };
  }
  return { code: 'OK' };
}

out.Health = await call('Health');
out.dry = await call('Migrate', { connection: 'core', target, dry_run: true });
out.StreamMigrate = await stream('StreamMigrate', { connection: 'core', target });
out.Migrate = await call('Migrate', { connection: 'core', target, schema: 'core' });
const tenants = { connection: 'tenants', target: { connection: 'tenants' }, schemas: ['a'] };
out.MigrateUp = await call('MigrateUp', tenants);
out.key = await callWith('MigrateUp', { ...tenants, schemas: ['k'] }, { 'idempotency-key': 'k' });
out.again = await callWith('MigrateUp', { ...tenants, schemas: ['k'] }, { 'idempotency-key': 'k' });
out.WatchEvents = await until('WatchEvents', {}, (message) => message.event === 'run_ended', () => call('MigrateUp', tenants));
out.PlanMigrations = await call('PlanMigrations', { ...tenants, schemas: ['a', 'b'] });
out.ListTenants = await call('ListTenants', { connection: 'tenants' });
out.CheckGate = await call('CheckGate', { connection: 'tenants' });
out.Reconcile = await call('Reconcile');
out.ResolveMigration = await failure('ResolveMigration', { migration_id: users, schema: 'core', as: 'applied' });
out.ListMigrations = await call('ListMigrations', { connection: 'core' });
out.GetMigration = await call('GetMigration', { migration_id: users });
out.GetMigrationStatus = await call('GetMigrationStatus', { migration_id: users });
out.IsMigrationApplied = await call('IsMigrationApplied', { migration_id: users });
out.GetMigrationHistory = await call('GetMigrationHistory', { migration_id: users });
out.ListExecutions = await call('ListExecutions', { migration_id: users });
out.ListSkipped = await call('ListSkipped', {});
out.OrderBatch = await call('OrderBatch', { connection: 'core', migration_ids: [users] });
out.ListRuns = await call('ListRuns', { limit: 1 });
out.page = await call('ListMigrations', { limit: 1 });
out.rest = await call('ListMigrations', { cursor: out.page.next_cursor });
out.GetRun = await call('GetRun', { run_id: out.MigrateUp.run_id });
out.WatchRun = await stream('WatchRun', { run_id: out.MigrateUp.run_id });
out.CancelRun = await call('CancelRun', { run_id: out.MigrateUp.run_id });
out.ReindexMigrations = await call('ReindexMigrations');
out.MigrateDown = await call('MigrateDown', { migration_id: '20250102120000_create_orders_postgresql_core' });
out.RollbackMigration = await call('RollbackMigration', { migration_id: users });
out.RetryRun = await failure('RetryRun', { run_id: out.MigrateUp.run_id });
out.unknown = await failure('GetMigration', { migration_id: 'nothing' });
metadata.set('authorization', 'Bearer wrong');
out.wrong = await failure('ListMigrations');
metadata.remove('authorization');
out.missing = await failure('ListMigrations');
out.many = (await Promise.all(Array.from({ length: 1000 }, () => call('Health')))).length;
out.methods = Object.keys(MigrationService.service);
client.close();
console.log(JSON.stringify(out));
