// What the modules hand to each other. Only for the type checker, which knows these names everywhere; it is not served.

/** Any frame of the server. Beyond these three a frame has what its type says (docs/clients.md). */
interface Frame {
  type: string;
  content: string;
  timestamp: string;
  [name: string]: any;
}

/** A place in a session's journal. */
interface Position {
  epoch: number;
  seq: number;
}

interface FileShown {
  filename: string;
  mime_type?: string;
  size?: number;
  url?: string;
}

interface UserEntry {
  kind: "user";
  key: string;
  seq: number;
  gapAfter?: boolean;
  messageId: string;
  turn: string | null;
  text: string;
  at: string;
  device: string | null;
  files: FileShown[];
  state: string;
}

interface Tool {
  id: string;
  name: string;
  input: any;
  parent: string | null;
  inputBlob?: string;
  output?: string;
  outputBlob?: string;
  isError?: boolean;
  ms?: number;
}

/** `points`: the length of `text` in code points, which is what offsets count. */
interface Block {
  id: string;
  text: string;
  points: number;
}

interface AnswerEntry {
  kind: "answer";
  key: string;
  seq: number;
  gapAfter?: boolean;
  turn: string;
  at: string;
  blocks: Block[];
  thinking: Block[];
  tools: Tool[];
  status: "running" | "complete" | "error" | "interrupted";
  ending: string;
  html: string | null;
}

/** A line between the messages: a decision, a notice. */
interface LineEntry {
  kind: "line";
  key: string;
  seq: number;
  gapAfter?: boolean;
  turn: string | null;
  tone: string;
  text: string;
  at: string;
  html?: undefined;
}

type Entry = UserEntry | AnswerEntry | LineEntry;

interface Task {
  id: string;
  parent: string | null;
  agent: string;
  title: string;
  state: string;
  progress: string;
  result: string | null;
}

interface Question {
  question: string;
  header?: string;
  options: { label: string; description?: string }[];
  multiSelect?: boolean;
}

interface Asked {
  id: string;
  tool: string;
  kind: string;
  input: any;
  options: string[];
  questions: Question[] | null;
}

interface Device {
  device_id: string;
  name: string;
  observe: boolean;
}

/** An entry of the list of sessions. */
interface SessionInfo {
  session_id: string;
  agent_type: string;
  title: string;
  state: string;
  head_seq: number;
  last_activity: string;
  unread?: number;
  pending?: number;
}

/** A file that waits to be uploaded, or was. */
interface OutFile {
  name: string;
  type: string;
  size: number;
  blob?: Blob;
  url?: string;
}

/** A message that the server has not accepted yet. `n` is its place in the order of writing. */
interface OutMessage {
  n?: number;
  session_id: string;
  agent?: string;
  settings?: Record<string, string>;
  message_id: string;
  content: string;
  mode: "queue" | "steer";
  files: OutFile[];
  at: string;
  state: "waiting" | "failed";
  reason?: string;
}

interface Views {
  /** The list changed. */
  list: () => void;
  /** The open session changed. */
  session: () => void;
  /** The connection, or how far behind this is. */
  status: () => void;
  /** The key is not good. */
  refused: (code: number) => void;
  /** Tell the person something in passing. */
  say: (text: string) => void;
}

interface Listener {
  /** Every frame but those of signing in. */
  frame: (frame: Frame) => void;
  /** Signed in, on a new socket. */
  ready: (ready: Frame) => void;
  /** It may be live now, or no more. */
  change: () => void;
  /** The key is not good: this does not come back by itself. */
  refused: (code: number) => void;
}

interface Way {
  /** Be attached to this session; false where there is no way now. */
  attach: (id: string, message: OutMessage) => Promise<boolean>;
  /** `accepted`, `rejected` or `error`; null where the way broke. */
  send: (frame: Record<string, any>) => Promise<Frame | null>;
  upload: (blob: Blob, name: string, progress: (part: number) => void) => Promise<{url: string}>;
  /** Nothing waits for this session any more. */
  delivered: (id: string) => void;
}

/** What can be done with an entry. */
interface Acts {
  /** How to name a device. */
  nameOf: (id: string | null) => string;
  agent: () => string;
  mayDrive: () => boolean;
  takeBack: (messageId: string) => void;
  resolve: (messageId: string, action: "retry" | "discard") => void;
  retrySending: (message: OutMessage) => void;
  discard: (message: OutMessage) => void;
  going: (message: OutMessage) => string;
  save: (url: string, name: string) => void;
  say: (text: string) => void;
}

interface ListActs {
  create: () => void;
  pair: () => void;
  signOut: () => void;
  search: (query: string) => Promise<Hit[]>;
}

/** What `Create` asked for. */
interface Making {
  agent?: string;
  settings?: Record<string, string>;
}

interface Hit {
  session_id: string;
  seq: number;
  role: string;
  snippet: string;
  timestamp: string;
}

type Api = import("./api").Api;
type Client = import("./client").Client;
type Journal = import("./journal").Journal;
type OpenSession = import("./session").OpenSession;
type Store = import("./store").Store;
