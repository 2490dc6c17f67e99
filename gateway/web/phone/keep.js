// What this phone keeps between visits, in IndexedDB: the device's key (which no
// script can read, only use), the language and the look. Never a password.

const open = () => new Promise((resolve, reject) => {
  const request = indexedDB.open("kessai-phone", 1);
  request.onupgradeneeded = () => request.result.createObjectStore("kept");
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

async function run(mode, work) {
  const db = await open();
  try {
    return await new Promise((resolve, reject) => {
      const change = db.transaction("kept", mode);
      const request = work(change.objectStore("kept"));
      change.oncomplete = () => resolve(request.result);
      change.onerror = change.onabort = () => reject(change.error);
    });
  } finally {
    db.close();
  }
}

export const get = (key) => run("readonly", (s) => s.get(key));
export const put = (key, value) => run("readwrite", (s) => s.put(value, key));
export const drop = (key) => run("readwrite", (s) => s.delete(key));
