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


type Api = import("./api").Api;
type Client = import("./client").Client;
type Journal = import("./journal").Journal;
type OpenSession = import("./session").OpenSession;
type Store = import("./store").Store;
