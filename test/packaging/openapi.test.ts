import t from 'tap';
import { committedOpenapi, openapi } from '../../packaging/openapi.ts';

t.test('docs/openapi.json is what the schemas say: npm run openapi', async (t) => {
  t.equal(committedOpenapi(), openapi());
});
