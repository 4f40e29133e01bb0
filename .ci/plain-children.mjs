// tap gives variables of its own, NODE_OPTIONS among them, to every child process of a test. What is tested here
// sets its children's environment itself: let that be what they get.
import processOnSpawn from 'process-on-spawn';

processOnSpawn.removeAllListeners();
delete process.env.NODE_OPTIONS;
