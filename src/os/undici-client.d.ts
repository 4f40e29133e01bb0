/** Undici's index loads all of it, which costs 80 ms; this file alone has `Client`. */
declare module 'undici/lib/dispatcher/client.js' {
  import { Client } from 'undici';
  export default Client;
}
